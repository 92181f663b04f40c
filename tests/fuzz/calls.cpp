// SPDX-License-Identifier: BSD-2-Clause
#include "tests/fuzz/scenario.h"

namespace bulkhead::fuzz {
namespace {

template <typename Role, std::size_t ARG, typename Args>
void makeRole(Caller& caller, Args& args) {
  std::apply([&](auto&... a) { caller.make(Role{}, a...); }, ipc::detail::slice<Role, ARG>(args));
}

template <Function F>
typename Line<F>::Args makeArguments(Caller& caller) {
  typename Line<F>::Args args{};
  PassesOf<F>::each(
      [&]<typename Role, std::size_t ARG, unsigned VALUE>() { makeRole<Role, ARG>(caller, args); });
  return args;
}

// Reads what the module may read and writes what it may write.
class Module {
 public:
  explicit Module(std::uint64_t seed) : numbers_(seed) {}

  template <typename R, typename... A>
  void use(R, A&...) {}
  void use(role::BytesIn, CK_BYTE_PTR& p, CK_ULONG& n) { read(p, n); }
  void use(role::Label, CK_BYTE_PTR& p) { read(p, 32); }
  void use(role::BytesOut, CK_BYTE_PTR& p, CK_ULONG_PTR& n) {
    if (p != nullptr && n != nullptr) *n = write(p, *n);
  }
  // A one-time password with a value of some length.
  void use(role::SignatureOut, CK_BYTE_PTR& p, CK_ULONG_PTR& n) {
    if (p == nullptr || n == nullptr) return;
    CK_OTP_SIGNATURE_INFO info{};
    CK_OTP_PARAM one{};
    if (*n < sizeof info + sizeof one) return use(role::BytesOut{}, p, n);
    CK_BYTE_PTR at = p + sizeof info;
    info.pParams = reinterpret_cast<CK_OTP_PARAM_PTR>(at);
    info.ulCount = 1;
    one.type = CK_OTP_VALUE;
    one.pValue = at + sizeof one;
    one.ulValueLen = write(one.pValue, *n - sizeof info - sizeof one);
    std::memcpy(p, &info, sizeof info);
    std::memcpy(at, &one, sizeof one);
    *n = sizeof info + sizeof one + one.ulValueLen;
  }
  void use(role::Fill, CK_BYTE_PTR& p, CK_ULONG& n) { write(p, n); }
  void use(role::TemplateIn, CK_ATTRIBUTE_PTR& p, CK_ULONG& n) {
    for (CK_ULONG i = 0; p != nullptr && i < n; ++i) read(p[i].pValue, p[i].ulValueLen);
  }
  void use(role::TemplateFill, CK_ATTRIBUTE_PTR& p, CK_ULONG& n) {
    for (CK_ULONG i = 0; p != nullptr && i < n; ++i)
      if ((p[i].type & CKF_ARRAY_ATTRIBUTE) == 0 && p[i].pValue != nullptr)
        p[i].ulValueLen = write(p[i].pValue, p[i].ulValueLen);
  }
  template <Use U>
  void use(role::Mechanism<U>, CK_MECHANISM_PTR& p) {
    if (p != nullptr) parameter(p->mechanism, U, p->pParameter, p->ulParameterLen);
  }
  void use(role::NumberOut, CK_ULONG_PTR& p) {
    if (p != nullptr) *p = 1;
  }

 private:
  void read(const void* p, CK_ULONG n) {
    volatile unsigned char sum = 0;
    for (CK_ULONG i = 0; p != nullptr && i < n; ++i)
      sum = static_cast<unsigned char>(sum + static_cast<const unsigned char*>(p)[i]);
  }
  CK_ULONG write(void* p, CK_ULONG n) {
    // Without a buffer the length may be any number, the largest among them.
    CK_ULONG some = n == 0 ? 0 : numbers_.below(n) + numbers_.below(2);
    if (p != nullptr && n != 0) std::memset(p, 3, std::min<CK_ULONG>(n, 4096));
    return some;
  }
  void parameter(CK_MECHANISM_TYPE type, Use use, void* p, CK_ULONG n) {
    if (p == nullptr) return;
    Layout layout = layoutOf(type, use, p, n);
    if (layout.kind == Layout::Kind::FlatOut) write(p, n);
    if (layout.shape == nullptr || n < layout.shape->size) return;
    auto image = static_cast<std::byte*>(p);
    for (const Field& field : layout.shape->fields)
      if (!field.isPointer() && field.direction != Direction::In)
        image[field.offset] ^= std::byte{1};
  }
  Numbers numbers_;
};

template <Function F, typename Pointer>
struct Dummy;
template <Function F, typename... A>
struct Dummy<F, CK_RV (*)(A...)> {
  static CK_RV call(A... a) {
    std::tuple<A...> args(a...);
    Module module(behaviour.seed);
    PassesOf<F>::each([&]<typename Role, std::size_t ARG, unsigned VALUE>() {
      std::apply([&](auto&... one) { module.use(Role{}, one...); },
                 ipc::detail::slice<Role, ARG>(args));
    });
    return behaviour.rv;
  }
};

template <Function F>
constexpr typename Line<F>::Pointer dummy() {
  return Dummy<F, typename Line<F>::Pointer>::call;
}

template <Function F>
class CallOf final : public AnyCall {
 public:
  explicit CallOf(Caller& caller) : args_(makeArguments<F>(caller)) {}
  void encode(HostCodec& codec, wire::Request::Builder request) override {
    encodeRequest<F>(codec, request, args_);
  }
  CK_RV decode(HostCodec& codec, wire::Reply::Reader reply) override {
    return decodeReply<F>(codec, reply, args_);
  }

 private:
  typename Line<F>::Args args_;
};

struct Entry {
  std::unique_ptr<AnyCall> (*make)(Caller&);
  void (*serve)(WorkerCodec&, wire::Request::Reader, wire::Reply::Builder);
  unsigned values;
};

struct Table {
  Entry entries[FUNCTIONS];
  template <Function F>
  void operator()() {
    entries[indexOf(F)] = {
        [](Caller& caller) -> std::unique_ptr<AnyCall> {
          return std::make_unique<CallOf<F>>(caller);
        },
        [](WorkerCodec& codec, wire::Request::Reader request, wire::Reply::Builder reply) {
          serve<F>(codec, request, reply, dummy<F>());
        },
        PassesOf<F>::VALUES};
  }
};

const Table& table() {
  static const Table all = [] {
    Table t;
    forEachFunction(t);
    return t;
  }();
  return all;
}

}  // namespace

std::unique_ptr<AnyCall> makeCall(unsigned index, Caller& caller) {
  return table().entries[index].make(caller);
}

void serveCall(unsigned index, WorkerCodec& codec, wire::Request::Reader request,
               wire::Reply::Builder reply) {
  table().entries[index].serve(codec, request, reply);
}

unsigned valuesOf(unsigned index) {
  return table().entries[index].values;
}

}  // namespace bulkhead::fuzz
