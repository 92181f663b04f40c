// SPDX-License-Identifier: BSD-2-Clause
//
// What the codec refuses, and what it does not believe. (layers_test.cpp and functions_test.cpp
// have what it carries.)
#include <gtest/gtest.h>

#include "layers.h"
#include "mirror.h"

namespace bulkhead::mirror {
namespace {

using ipc::HostCodec;

// What a request that is refused would have reached.
unsigned calls = 0;

template <Function F, typename Pointer>
struct Counting;
template <Function F, typename... A>
struct Counting<F, CK_RV (*)(A...)> {
  static CK_RV call(A...) {
    ++calls;
    return CKR_OK;
  }
};

// The return value with which a call is refused; CKR_OK when it reached the module.
template <Function F>
CK_RV refusal(HostCodec& host, const typename ipc::Line<F>::Args& args) {
  calls = 0;
  try {
    (void)throughCodec<F>(host, args, &Counting<F, typename ipc::Line<F>::Pointer>::call);
  } catch (const ipc::Refused& refused) {
    EXPECT_EQ(calls, 0U);
    return refused.returnValue;
  }
  EXPECT_EQ(calls, 1U);
  return CKR_OK;
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
    EXPECT_EQ(refusal<Function::C_DeriveKey>(host, call.args), CKR_MECHANISM_PARAM_INVALID)
        << ipc::shapes()[one.shape]->name;
  }
}

TEST(Codec, AVendorsParameterIsRefusedUnlessItIsFlat) {
  constexpr auto F = Function::C_EncryptInit;
  const std::uint64_t flat[] = {CKM_VENDOR_DEFINED | 9};
  Scenario s;
  s.function = F;
  s.mechanism = flat[0];
  Call<F> call(s, Place{});
  HostCodec strict;
  EXPECT_EQ(refusal<F>(strict, call.args), CKR_MECHANISM_PARAM_INVALID);
  HostCodec open;
  open.flatMechanisms = flat;
  EXPECT_EQ(refusal<F>(open, call.args), CKR_OK);
}

// Whether there is an operation the module knows; what the parameter would mean nobody does, so
// nothing of it travels.
TEST(Codec, AMessageWithoutAnOperationIsForTheModuleToRefuse) {
  static CK_ULONG given = 0;
  auto module = [](CK_SESSION_HANDLE, CK_VOID_PTR parameter, CK_ULONG length, CK_BYTE_PTR,
                   CK_ULONG) -> CK_RV {
    given = length;
    auto bytes = static_cast<CK_BYTE*>(parameter);
    EXPECT_EQ(std::count(bytes, bytes + length, 0), static_cast<long>(length));
    bytes[0] = 1;
    return CKR_OPERATION_NOT_INITIALIZED;
  };
  CK_BYTE iv[12];
  CK_GCM_MESSAGE_PARAMS params{iv, sizeof iv, 0, CKG_NO_GENERATE, iv, 96};
  HostCodec host;
  EXPECT_EQ(throughCodec<Function::C_EncryptMessageBegin>(
                host, {1, &params, sizeof params, nullptr, 0}, +module),
            CKR_OPERATION_NOT_INITIALIZED);
  EXPECT_EQ(given, sizeof params);
  EXPECT_EQ(params.pIv, iv);
}

// Nor does a worker write to what it was not told of.
TEST(Codec, AChangeToAParameterWithoutAnOperationIsNotBelieved) {
  CK_ULONG parameter[6] = {};
  HostCodec host;
  ipc::Line<Function::C_EncryptMessageBegin>::Args args{1, parameter, sizeof parameter, nullptr, 0};
  capnp::MallocMessageBuilder reply;
  auto root = reply.initRoot<ipc::wire::Reply>();
  auto values = root.initValues(ipc::PassesOf<Function::C_EncryptMessageBegin>::VALUES);
  values[1].initMechanism().initParameter().initImage(sizeof parameter);
  EXPECT_THROW((void)ipc::decodeReply<Function::C_EncryptMessageBegin>(host, root.asReader(), args),
               ipc::Malformed);
}

// C_MessageEncryptInit with the struct of C_EncryptInit, which has the same size: modules that
// don't look at it take it. A length of it is where a pointer would be.
TEST(Codec, ANumberWhereAPointerBelongsIsNotFollowed) {
  CK_BYTE iv[12] = {}, associated[20] = {};
  CK_GCM_PARAMS params{iv, sizeof iv, 96, associated, sizeof associated, 128};
  static_assert(sizeof params == sizeof(CK_GCM_MESSAGE_PARAMS));
  CK_MECHANISM mechanism{CKM_AES_GCM, &params, sizeof params};
  HostCodec host;
  auto module = [](CK_SESSION_HANDLE, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE) -> CK_RV {
    EXPECT_EQ(load<CK_GCM_MESSAGE_PARAMS>(m->pParameter).pTag, nullptr);
    return CKR_OK;
  };
  EXPECT_EQ(throughCodec<Function::C_MessageEncryptInit>(host, {1, &mechanism, 2}, +module),
            CKR_OK);
}

TEST(Codec, HandlesOfADeadWorkerReachNoModule) {
  Scenario s;
  s.function = Function::C_GetObjectSize;
  Call<Function::C_GetObjectSize> object(s, Place{42, 4711, 2});
  HostCodec third;
  third.handles = ipc::ObjectHandles(3);
  EXPECT_EQ(refusal<Function::C_GetObjectSize>(third, object.args), CKR_OBJECT_HANDLE_INVALID);
  s.function = Function::C_DigestKey;
  Call<Function::C_DigestKey> key(s, Place{42, 4711, 2});
  EXPECT_EQ(refusal<Function::C_DigestKey>(third, key.args), CKR_KEY_HANDLE_INVALID);
}

TEST(Codec, ARequestBeyondTheLimitIsRefused) {
  HostCodec host;
  host.maxBytes = 1000;
  std::vector<CK_BYTE> data(1001);
  EXPECT_EQ(refusal<Function::C_DigestUpdate>(host, {1, data.data(), data.size()}),
            CKR_HOST_MEMORY);
  EXPECT_EQ(refusal<Function::C_DigestUpdate>(host, {1, data.data(), data.size() - 1}), CKR_OK);
}

// A module that makes another IV where it was told to, and then leaves nonsense in its own struct.
CK_RV spoilsItsParameter(CK_SESSION_HANDLE, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE) {
  auto gcm = static_cast<CK_GCM_PARAMS*>(mechanism->pParameter);
  std::memset(gcm->pIv, 7, gcm->ulIvLen);
  gcm->pIv = reinterpret_cast<CK_BYTE*>(std::uintptr_t{16});
  return CKR_OK;
}

TEST(Codec, PointersThatAModuleOverwritesAreNotFollowed) {
  CK_BYTE iv[12] = {1, 2, 3};
  CK_GCM_PARAMS gcm{};
  gcm.pIv = iv;
  gcm.ulIvLen = sizeof iv;
  gcm.ulTagBits = 128;
  CK_MECHANISM mechanism{CKM_AES_GCM, &gcm, sizeof gcm};
  HostCodec host;
  EXPECT_EQ(throughCodec<Function::C_EncryptInit>(host, {1, &mechanism, 2}, &spoilsItsParameter),
            CKR_OK);
  EXPECT_EQ(gcm.pIv, iv);
  for (CK_BYTE one : iv) EXPECT_EQ(one, 7);
}

// The same of structs that a struct points to.
CK_RV spoilsDerivedKeys(CK_SESSION_HANDLE, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE, CK_ATTRIBUTE*,
                        CK_ULONG, CK_OBJECT_HANDLE*) {
  auto kdf = static_cast<CK_SP800_108_KDF_PARAMS*>(mechanism->pParameter);
  for (CK_ULONG i = 0; i < kdf->ulAdditionalDerivedKeys; ++i) {
    *kdf->pAdditionalDerivedKeys[i].phKey = 100 + i;
    kdf->pAdditionalDerivedKeys[i].phKey = reinterpret_cast<CK_OBJECT_HANDLE*>(std::uintptr_t{16});
  }
  kdf->pAdditionalDerivedKeys = reinterpret_cast<CK_DERIVED_KEY*>(std::uintptr_t{16});
  return CKR_OK;
}

TEST(Codec, PointersThatAModuleOverwritesInNestedStructsAreNotFollowed) {
  CK_OBJECT_HANDLE first = 0, second = 0, key = 0;
  CK_DERIVED_KEY more[2] = {{nullptr, 0, &first}, {nullptr, 0, &second}};
  CK_SP800_108_KDF_PARAMS kdf{};
  kdf.prfType = CKM_SHA256_HMAC;
  kdf.ulAdditionalDerivedKeys = 2;
  kdf.pAdditionalDerivedKeys = more;
  CK_MECHANISM mechanism{CKM_SP800_108_COUNTER_KDF, &kdf, sizeof kdf};
  HostCodec host;
  EXPECT_EQ(throughCodec<Function::C_DeriveKey>(host, {1, &mechanism, 2, nullptr, 0, &key},
                                                &spoilsDerivedKeys),
            CKR_OK);
  EXPECT_EQ(first, 100U);
  EXPECT_EQ(second, 101U);
}

// ---- signatures that point into themselves ----

// A reply to C_Sign that says `bytes`, written back by a host whose buffer has `room`.
struct Forged {
  std::vector<CK_BYTE> buffer;
  CK_RV rv = CKR_GENERAL_ERROR;

  explicit Forged(const std::vector<CK_BYTE>& bytes, CK_MECHANISM_TYPE mechanism = CKM_HOTP)
      : buffer(bytes.size(), 0xee) {
    HostCodec host;
    host.operationMechanism = mechanism;
    CK_ULONG length = buffer.size();
    ipc::Line<Function::C_Sign>::Args args{1, nullptr, 0, buffer.data(), &length};
    capnp::MallocMessageBuilder request;
    ipc::encodeRequest<Function::C_Sign>(host, request.initRoot<ipc::wire::Request>(), args);
    capnp::MallocMessageBuilder reply;
    auto root = reply.initRoot<ipc::wire::Reply>();
    auto values = root.initValues(ipc::PassesOf<Function::C_Sign>::VALUES);
    values[2].setBytes(kj::arrayPtr(bytes.data(), bytes.size()));
    rv = ipc::decodeReply<Function::C_Sign>(host, root.asReader(), args);
  }
};

// A header, one parameter and a value of eight bytes, with pointers that count from 0.
struct Otp {
  CK_ULONG params = 16, count = 1, type = CK_OTP_VALUE, value = 40, length = 8, bytes = 0x1122;

  operator std::vector<CK_BYTE>() const {
    std::vector<CK_BYTE> all(sizeof *this);
    std::memcpy(all.data(), this, sizeof *this);
    return all;
  }
};

TEST(Codec, ASignatureThatPointsIntoItselfPointsIntoTheCallersBuffer) {
  Forged reply{Otp()};
  ASSERT_EQ(reply.rv, CKR_OK);
  auto info = load<CK_OTP_SIGNATURE_INFO>(reply.buffer.data());
  ASSERT_EQ(info.ulCount, 1U);
  ASSERT_EQ(reinterpret_cast<CK_BYTE*>(info.pParams), reply.buffer.data() + 16);
  auto param = load<CK_OTP_PARAM>(info.pParams);
  EXPECT_EQ(param.pValue, reply.buffer.data() + 40);
  EXPECT_EQ(load<CK_ULONG>(param.pValue), 0x1122U);
  // Other mechanisms' signatures are bytes.
  std::vector<CK_BYTE> plain = Otp();
  Forged other(plain, CKM_SHA256_HMAC);
  EXPECT_TRUE(other.buffer == plain);
}

TEST(Codec, APointerToNothingIsNobodys) {
  Otp empty;
  empty.length = 0;
  empty.value = 0x7fff00001234;
  Forged reply(empty);
  EXPECT_EQ(load<CK_OTP_PARAM>(reply.buffer.data() + 16).pValue, nullptr);
  Otp none;
  none.params = 0;
  none.count = 77;
  EXPECT_EQ(load<CK_OTP_SIGNATURE_INFO>(Forged(none).buffer.data()).pParams, nullptr);
}

TEST(Codec, ASignatureThatPointsElsewhereIsNotBelieved) {
  const std::pair<const char*, void (*)(Otp&)> LIES[] = {
      {"structs before the buffer", [](Otp& o) { o.params = ~CK_ULONG{0} - 7; }},
      {"structs on the header", [](Otp& o) { o.params = 8; }},
      {"structs at the end", [](Otp& o) { o.params = 25; }},
      {"structs beyond the end", [](Otp& o) { o.params = 4096; }},
      {"too many structs", [](Otp& o) { o.count = 2; }},
      {"so many that they come round again", [](Otp& o) { o.count = ~CK_ULONG{0} / 24 + 2; }},
      {"a value beyond the end", [](Otp& o) { o.value = 49; }},
      {"a value at the end", [](Otp& o) { o.value = 41; }},
      {"a value before the buffer", [](Otp& o) { o.value = ~CK_ULONG{0}; }},
      {"a value that is too long", [](Otp& o) { o.length = 9; }},
      {"a value that comes round again", [](Otp& o) { o.length = ~CK_ULONG{0}; }},
  };
  for (auto& [what, lie] : LIES) {
    Otp otp;
    lie(otp);
    EXPECT_THROW(Forged{otp}, ipc::Malformed) << what;
  }
  std::vector<CK_BYTE> cut = Otp();
  cut.resize(15);
  EXPECT_THROW(Forged{cut}, ipc::Malformed) << "half a header";
}

}  // namespace
}  // namespace bulkhead::mirror
