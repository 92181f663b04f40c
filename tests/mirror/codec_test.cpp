// SPDX-License-Identifier: BSD-2-Clause
//
// The codec alone: encode, serve and decode in one process, without a channel. Everything is made
// from the catalogue and the tables, so a new function or struct is tested by being there.
#include <capnp/serialize.h>
#include <gtest/gtest.h>

#include "ipc/channel.h"
#include "ipc/codec.h"
#include "mirror.h"

namespace bulkhead::mirror {
namespace {

using ipc::HostCodec;

// The module's end for the function pointers below. Plain functions have nowhere else to look.
struct {
  Scenario scenario;
  Place place;
  std::string report;
  unsigned calls = 0;
} module;

template <Function F, typename Pointer>
struct Thunk;
template <Function F, typename... A>
struct Thunk<F, CK_RV (*)(A...)> {
  static CK_RV call(A... a) {
    ++module.calls;
    return receive<F>(module.scenario, module.place, {a...}, module.report);
  }
};

struct Outcome {
  CK_RV rv;
  bool called;
};

// One call through all four passes.
template <Function F>
Outcome throughCodec(const Scenario& s, HostCodec& host, const typename ipc::Line<F>::Args& args) {
  module.scenario = s;
  module.place = Place{42, 4711, 0};
  module.report.clear();
  module.calls = 0;
  capnp::MallocMessageBuilder request;
  try {
    ipc::encodeRequest<F>(host, request.initRoot<ipc::wire::Request>(), args);
  } catch (const ipc::Refused& refused) {
    return {refused.returnValue, false};
  }
  auto requestWords = capnp::messageToFlatArray(request);
  capnp::FlatArrayMessageReader requestReader(requestWords, ipc::readerOptions(requestWords));
  ipc::Arena arena;
  ipc::WorkerCodec worker(arena);
  capnp::MallocMessageBuilder reply;
  ipc::serve<F>(worker, requestReader.getRoot<ipc::wire::Request>(),
                reply.initRoot<ipc::wire::Reply>(),
                &Thunk<F, typename ipc::Line<F>::Pointer>::call);
  auto replyWords = capnp::messageToFlatArray(reply);
  EXPECT_LE(replyWords.asBytes().size(), host.largestReply()) << ipc::nameOf(F);
  capnp::FlatArrayMessageReader replyReader(replyWords, ipc::readerOptions(replyWords));
  CK_RV rv = ipc::decodeReply<F>(host, replyReader.getRoot<ipc::wire::Reply>(), args);
  return {rv, module.calls == 1};
}

std::string describe(const Scenario& s) {
  std::string text(ipc::nameOf(s.function));
  text += " variant " + std::to_string(static_cast<unsigned>(s.variant)) + " seed " +
          std::to_string(s.seed) + " mechanism " + Memory::hex(s.mechanism);
  if (s.shape != Scenario::FLAT) text += std::string(" ") + ipc::shapes()[s.shape]->name;
  if (s.cut != 0) text += " cut " + std::to_string(s.cut);
  return text;
}

// The same call directly and through the codec: the caller sees no difference.
template <Function F>
void mirrored(Scenario s, std::uint32_t generation = 0) {
  s.function = F;
  SCOPED_TRACE(describe(s));
  Call<F> direct(s, Place{42, 4711, 0});
  CK_RV wanted = answer<F>(s, direct.memory.place, direct.args);

  Call<F> remote(s, Place{42, 4711, generation});
  HostCodec host;
  host.handles = ipc::ObjectHandles(generation);
  host.messageMechanism = s.mechanism;
  Outcome got{};
  try {
    got = throughCodec<F>(s, host, remote.args);
  } catch (const std::exception& e) {
    FAIL() << e.what();
  } catch (const kj::Exception& e) {
    FAIL() << e.getDescription().cStr();
  }
  ASSERT_TRUE(got.called) << "refused with " << Memory::hex(got.rv);
  ASSERT_EQ(module.report, "");
  EXPECT_EQ(got.rv, wanted);
  EXPECT_EQ(remote.memory.difference(direct.memory), "");
}

constexpr CK_RV VALUES[] = {CKR_OK, CKR_DEVICE_ERROR, 0xdeadbeef, CKR_BUFFER_TOO_SMALL};

TEST(Codec, EveryFunctionPassesEveryArgument) {
  ipc::forEachFunction([&]<Function F>() {
    std::vector<Reached> mechanisms;
    if (auto use = usesMechanism<F>()) mechanisms = reached(*use);
    for (std::uint8_t variant = 0; variant < VARIANTS; ++variant) {
      for (std::uint32_t seed = 0; seed < 24; ++seed) {
        Scenario s;
        s.variant = static_cast<Variant>(variant);
        s.seed = seed;
        s.returnValue = VALUES[seed % std::size(VALUES)];
        if (!mechanisms.empty() && seed % 3 != 0) {
          const Reached& one = mechanisms[(seed * 37U + variant) % mechanisms.size()];
          s.mechanism = one.mechanism;
          s.shape = one.shape;
        }
        mirrored<F>(s, seed % 2 == 0 ? 0 : 3);
        if (testing::Test::HasFatalFailure() || testing::Test::HasNonfatalFailure()) return;
      }
    }
  });
}

template <Function F>
void everyShape(Use use) {
  auto all = reached(use);
  ASSERT_FALSE(all.empty());
  for (const Reached& one : all) {
    for (std::uint32_t seed = 0; seed < 8; ++seed) {
      Scenario s;
      s.mechanism = one.mechanism;
      s.shape = one.shape;
      s.seed = seed;
      s.returnValue = VALUES[seed % std::size(VALUES)];
      mirrored<F>(s, seed % 2 == 0 ? 0 : 3);
    }
  }
}

TEST(Codec, EveryShapeOfAnOperation) {
  everyShape<Function::C_EncryptInit>(Use::Operation);
}
TEST(Codec, EveryShapeOfAMessage) {
  everyShape<Function::C_MessageEncryptInit>(Use::Message);
  everyShape<Function::C_EncryptMessage>(Use::Message);
}
TEST(Codec, EveryShapeOfAWrap) {
  everyShape<Function::C_WrapKey>(Use::Wrap);
}
TEST(Codec, EveryShapeOfAnAuthenticatedWrap) {
  everyShape<Function::C_WrapKeyAuthenticated>(Use::AuthenticatedWrap);
}

// A length that is not the struct's: what is there arrives, and nothing is followed too far.
TEST(Codec, AStructMayBeCutOrLonger) {
  std::byte zeros[512] = {};
  for (const Reached& one : reached(Use::Operation)) {
    for (int cut : {-1, -8, -9, 1, 8}) {
      if (CK_LONG{ipc::shapes()[one.shape]->size} + cut < 1) continue;
      // Of mechanisms with several layouts another may have that size.
      Layout other =
          ipc::layoutOf(one.mechanism, Use::Operation, zeros,
                        static_cast<CK_ULONG>(CK_LONG{ipc::shapes()[one.shape]->size} + cut));
      if (other.shape != ipc::shapes()[one.shape]) continue;
      Scenario s;
      s.mechanism = one.mechanism;
      s.shape = one.shape;
      s.cut = static_cast<std::int8_t>(cut);
      s.seed = one.shape;
      mirrored<Function::C_EncryptInit>(s);
    }
  }
}

TEST(Codec, StructsWithoutLengthsAreRefused) {
  auto all = reached(Use::Operation, false);
  EXPECT_EQ(all.size(), 4U);
  for (const Reached& one : all) {
    Scenario s;
    s.function = Function::C_DeriveKey;
    s.mechanism = one.mechanism;
    s.shape = one.shape;
    Call<Function::C_DeriveKey> call(s, Place{});
    HostCodec host;
    Outcome got = throughCodec<Function::C_DeriveKey>(s, host, call.args);
    EXPECT_FALSE(got.called);
    EXPECT_EQ(got.rv, CKR_MECHANISM_PARAM_INVALID) << ipc::shapes()[one.shape]->name;
  }
}

TEST(Codec, AVendorsParameterIsRefusedUnlessItIsFlat) {
  constexpr auto F = Function::C_EncryptInit;
  const std::uint64_t flat[] = {CKM_VENDOR_DEFINED | 9};
  Scenario s;
  s.function = F;
  s.mechanism = flat[0];
  Call<F> direct(s, Place{42, 4711, 0});
  (void)answer<F>(s, direct.memory.place, direct.args);
  Call<F> call(s, Place{42, 4711, 0});
  HostCodec strict;
  Outcome got = throughCodec<F>(s, strict, call.args);
  EXPECT_FALSE(got.called);
  EXPECT_EQ(got.rv, CKR_MECHANISM_PARAM_INVALID);
  HostCodec open;
  open.flatMechanisms = flat;
  got = throughCodec<F>(s, open, call.args);
  EXPECT_TRUE(got.called);
  EXPECT_EQ(module.report, "");
  EXPECT_EQ(call.memory.difference(direct.memory), "");
  // Without a parameter there is nothing to misread.
  s.variant = Variant::Bare;
  mirrored<F>(s);
}

TEST(Codec, HandlesOfADeadWorkerReachNoModule) {
  Scenario s;
  s.function = Function::C_GetObjectSize;
  Call<Function::C_GetObjectSize> object(s, Place{42, 4711, 2});
  HostCodec third;
  third.handles = ipc::ObjectHandles(3);
  Outcome got = throughCodec<Function::C_GetObjectSize>(s, third, object.args);
  EXPECT_FALSE(got.called);
  EXPECT_EQ(got.rv, CKR_OBJECT_HANDLE_INVALID);
  s.function = Function::C_DigestKey;
  Call<Function::C_DigestKey> key(s, Place{42, 4711, 2});
  got = throughCodec<Function::C_DigestKey>(s, third, key.args);
  EXPECT_FALSE(got.called);
  EXPECT_EQ(got.rv, CKR_KEY_HANDLE_INVALID);
}

TEST(Codec, ARequestBeyondTheLimitIsRefused) {
  HostCodec host;
  host.maxBytes = 1000;
  std::vector<CK_BYTE> data(1001);
  Scenario s;
  Outcome got = throughCodec<Function::C_DigestUpdate>(s, host, {1, data.data(), data.size()});
  EXPECT_FALSE(got.called);
  EXPECT_EQ(got.rv, CKR_HOST_MEMORY);
}

}  // namespace
}  // namespace bulkhead::mirror
