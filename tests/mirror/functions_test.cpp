// SPDX-License-Identifier: BSD-2-Clause
//
// The list of function tests over every layer that there is between an application and SoftHSM2:
// none, the codec alone, the proxy with its worker.
#include "tests/mirror/functions.h"

#include "tests/mirror/layers.h"

namespace bulkhead::test {
namespace {

using mirror::CodecLayer;

using Lines = std::vector<std::string>;

Lines on(CK_FUNCTION_LIST* (*reach)()) {
  Configuration configuration;
  configuration.addSoftHsm();
  return transcriptOf(reach());
}

// The same position in both, so that a line that only one of them has is named.
void expectSame(const Lines& got, const Lines& wanted) {
  for (std::size_t i = 0; i < std::min(got.size(), wanted.size()); ++i)
    ASSERT_EQ(got[i], wanted[i]) << "line " << i << ", behind " << (i == 0 ? "" : wanted[i - 1]);
  EXPECT_EQ(got.size(), wanted.size());
}

CK_FUNCTION_LIST* direct() {
  static Library library(SOFTHSM);
  return library.functions();
}

class FunctionTests : public ::testing::Test {
 protected:
  void SetUp() override {
    BULKHEAD_NEEDS(SOFTHSM);
    wanted_ = on(direct);
    ASSERT_GE(wanted_.size(), 400u);
  }
  Lines wanted_;
};

TEST_F(FunctionTests, directlyAreTheSameTwice) {
  expectSame(on(direct), wanted_);
}

TEST_F(FunctionTests, throughTheCodecAreTheSame) {
  CodecLayer::instance().module = mirror::functionsOf(SOFTHSM);
  expectSame(on([] { return reinterpret_cast<CK_FUNCTION_LIST*>(CodecLayer::list()); }), wanted_);
  EXPECT_EQ(CodecLayer::instance().malformed, "");
}

TEST_F(FunctionTests, throughTheProxyAreTheSame) {
  expectSame(on([] {
               static Library proxy;
               return proxy.functions();
             }),
             wanted_);
}

}  // namespace
}  // namespace bulkhead::test
