// SPDX-License-Identifier: BSD-2-Clause
//
// A host that is confined itself: which layers its workers lack is told, once each; what is
// required of them means no worker. HOSTILE_MISSING has the layers that whoever started this test
// took away; without it, none.
#include <sstream>

#include "sandbox/policy.h"
#include "tests/hostile/outside.h"
#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

std::set<std::string> words(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

std::set<std::string> missingLayers() {
  const char* all = ::getenv("HOSTILE_MISSING");
  return words(all == nullptr ? "" : all);
}

// Whether there is a service manager is another matter.
bool ofTheKernel(const std::string& layer) {
  return layer != "cgroup";
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(ConfinedHost, IsToldWhichLayersItsWorkersLack) {
  Rig rig("warning");
  rig.configure("none@none");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
  ASSERT_EQ(rig.finalize(), CKR_OK);
  std::string log = rig.log();
  for (std::string_view name : sandbox::LAYER_NAMES) {
    std::string layer(name);
    if (!ofTheKernel(layer)) continue;
    EXPECT_EQ(count(log, "layer " + layer + " is not in force: "), missingLayers().count(layer))
        << layer << "\n"
        << log;
  }
}

TEST(ConfinedHost, HasNoWorkerWithoutWhatIsRequired) {
  for (const std::string& layer : missingLayers()) {
    Rig rig("warning");
    rig.configure("none@none", {}, "[Layers]\nRequire=" + layer + "\n");
    ASSERT_EQ(rig.initialize(), CKR_OK);
    EXPECT_TRUE(test::slots(rig.functions()).empty()) << layer;
    // With the reason: the call that failed, and how.
    std::string line = "cannot start: required layer " + layer + ": ";
    ASSERT_TRUE(rig.logs(line)) << rig.log();
    std::string log = rig.log();
    auto at = log.find(line);
    EXPECT_NE(log.substr(at, log.find('\n', at) - at).find(": ", line.size()), std::string::npos)
        << log;
  }
}

TEST(ConfinedHost, HasAWorkerWithAllThatIsLeft) {
  std::string left;
  for (std::string_view layer : sandbox::LAYER_NAMES)
    if (ofTheKernel(std::string(layer)) && missingLayers().count(std::string(layer)) == 0)
      left += " " + std::string(layer);
  Rig rig("warning");
  rig.configure("none@none", {}, "[Layers]\nPrefer=\nRequire=" + left + "\n");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK) << rig.log();
}

// Without the broker nobody makes a connection for the worker, and it makes none itself.
TEST(ConfinedHost, ConnectsThroughTheBrokerOrNotAtAll) {
  Rig rig("warning");
  Outside outside(rig);
  rig.configure("try:connect-allowed@C_GenerateRandom", outside.variables(),
                outside.sections("[Network]\nNetwork=unix\nConnect=unix:" +
                                 rig.setup().path("outside/allowed") + "\n"));
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  ASSERT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK);
  EXPECT_EQ(text, missing("broker") ? "EPERM" : "ok");
  EXPECT_EQ(outside.connected(outside.allowed()), !missing("broker"));
  outside.expectUntouched();
}

}  // namespace
}  // namespace bulkhead::hostile
