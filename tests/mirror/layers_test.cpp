// SPDX-License-Identifier: BSD-2-Clause
//
// One list of calls - every function, every shape, every way to give an argument - over every layer
// that there is between a caller and a mirror module: none, the codec alone, the real proxy with a
// real worker. And what of the proxy a mirror shows.
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "layers.h"
#include "mirror.h"

namespace bulkhead::mirror {
namespace {

constexpr CK_MECHANISM_TYPE FLAT_VENDOR = CKM_VENDOR_DEFINED | 0x1234;
constexpr CK_MECHANISM_TYPE OTHER_VENDOR = CKM_VENDOR_DEFINED | 0x4321;
constexpr const char* MODULES[] = {"mirror-2.40", "mirror-3.0", "mirror-3.2", "mirror-holes",
                                   "mirror-liar"};
constexpr CK_SLOT_ID MIRROR_SLOT = 7;  // the module's own number

// Private directories with the modules in them; from when it is first asked for, the proxy with its
// configuration, and what it wrote to stderr.
class Product : public testing::Environment {
 public:
  void SetUp() override {
    const char* module = std::getenv("MIRROR_MODULE");
    ASSERT_NE(module, nullptr) << "run by meson test";
    char pattern[] = "/tmp/bulkhead-mirror-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    directory = pattern;
    for (const char* name : MODULES)
      std::filesystem::copy_file(module, directory / (std::string(name) + ".so"));
  }

  void start() {
    const char* path = std::getenv("BULKHEAD_PROXY");
    ASSERT_NE(path, nullptr) << "run by meson test";
    for (const char* name : MODULES)
      write(std::string("modules/") + name + ".module",
            "module: " + (directory / name).string() + ".so\n");
    write("policies/mirror-3.2.policy.d/flat.conf", "[Mechanisms]\nFlatMechanisms=0x80001234\n");
    const char* shipped = std::getenv("BULKHEAD_POLICIES");
    std::string policies = (directory / "policies").string();
    if (shipped != nullptr) policies += std::string(":") + shipped;
    ::setenv("BULKHEAD_MODULES", (directory / "modules").c_str(), 1);
    ::setenv("BULKHEAD_POLICIES", policies.c_str(), 1);
    ::setenv("BULKHEAD_LOG", "warning", 1);
    // Supervisors write their log to the stderr that they find.
    int log = ::open((directory / "log").c_str(), O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    stderr_ = ::fcntl(2, F_DUPFD_CLOEXEC, 3);
    ::dup2(log, 2);
    ::close(log);

    void* proxy = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(proxy, nullptr) << ::dlerror();
    getInterface = reinterpret_cast<CK_C_GetInterface>(::dlsym(proxy, "C_GetInterface"));
    getInterfaceList =
        reinterpret_cast<CK_C_GetInterfaceList>(::dlsym(proxy, "C_GetInterfaceList"));
    getFunctionList = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(proxy, "C_GetFunctionList"));
    ASSERT_TRUE(getInterface && getInterfaceList && getFunctionList);
    CK_INTERFACE_PTR interface = nullptr;
    CK_VERSION version{3, 2};
    ASSERT_EQ(getInterface(nullptr, &version, &interface, 0), CKR_OK);
    list = static_cast<CK_FUNCTION_LIST_3_2*>(interface->pFunctionList);
    CK_C_INITIALIZE_ARGS args{};
    args.flags = CKF_OS_LOCKING_OK;
    ASSERT_EQ(list->C_Initialize(&args), CKR_OK);
    CK_SLOT_ID ids[16];
    CK_ULONG n = std::size(ids);
    ASSERT_EQ(list->C_GetSlotList(CK_TRUE, ids, &n), CKR_OK);
    for (CK_ULONG i = 0; i < n; ++i) {
      CK_SLOT_INFO info{};
      ASSERT_EQ(list->C_GetSlotInfo(ids[i], &info), CKR_OK);
      std::string name(reinterpret_cast<char*>(info.slotDescription), sizeof info.slotDescription);
      slots[name.substr(0, name.find(".so"))] = ids[i];
    }
    ASSERT_EQ(slots.size(), std::size(MODULES)) << logged();
  }

  void TearDown() override {
    if (list != nullptr) (void)list->C_Finalize(nullptr);
    if (stderr_ != -1) {
      ::dup2(stderr_, 2);
      ::close(stderr_);
      if (testing::UnitTest::GetInstance()->Failed()) std::fputs(logged().c_str(), stderr);
    }
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }

  std::string logged() const {
    std::ifstream in(directory / "log");
    return {std::istreambuf_iterator<char>(in), {}};
  }

  Place open(const std::string& module) {
    Place place{slots.at(module), 0, 0};
    CK_RV rv = list->C_OpenSession(place.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr,
                                   nullptr, &place.session);
    EXPECT_EQ(rv, CKR_OK) << logged();
    return place;
  }

  // The module's own functions.
  CK_FUNCTION_LIST_3_2* direct(const std::string& module) {
    auto found = direct_.find(module);
    if (found == direct_.end())
      found = direct_.emplace(module, functionsOf((directory / module).string() + ".so")).first;
    return &found->second;
  }

  CK_C_GetInterface getInterface = nullptr;
  CK_C_GetInterfaceList getInterfaceList = nullptr;
  CK_C_GetFunctionList getFunctionList = nullptr;
  CK_FUNCTION_LIST_3_2* list = nullptr;
  std::map<std::string, CK_SLOT_ID> slots;

 private:
  void write(const std::string& name, const std::string& text) {
    auto path = directory / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    ::chmod(path.c_str(), 0600);
    ::chmod(path.parent_path().c_str(), 0700);
  }

  std::filesystem::path directory;
  std::map<std::string, CK_FUNCTION_LIST_3_2> direct_;
  int stderr_ = -1;
};

Product& modules() {
  static auto* one = static_cast<Product*>(testing::AddGlobalTestEnvironment(new Product));
  return *one;
}
// Before main: gtest sets up what it knows by then.
Product& registered = modules();

Product& product() {
  static bool started = (modules().start(), true);
  (void)started;
  return modules();
}

// The supervisor writes on its own time.
bool logs(const std::string& text) {
  for (int i = 0; i < 600; ++i) {
    if (product().logged().find(text) != std::string::npos) return true;
    ::usleep(50'000);
  }
  return false;
}

// ---- the same calls over every layer ----

// What the proxy answers itself, or what ends the session that the tests go on with.
constexpr Function OWN[] = {
    Function::C_Initialize,       Function::C_Finalize,         Function::C_GetInfo,
    Function::C_GetFunctionList,  Function::C_GetSlotList,      Function::C_OpenSession,
    Function::C_CloseSession,     Function::C_CloseAllSessions, Function::C_GetSessionInfo,
    Function::C_Logout,           Function::C_WaitForSlotEvent, Function::C_GetInterface,
    Function::C_GetInterfaceList, Function::C_AsyncComplete,    Function::C_AsyncGetID,
    Function::C_AsyncJoin};

template <Function F>
constexpr bool isOwn() {
  for (Function f : OWN)
    if (f == F) return true;
  return false;
}

// A mirror module and the way to it, with a session to call it in.
struct Layer {
  CK_FUNCTION_LIST_3_2* list;
  Place place;
  bool proxied;
};

enum class Way { Direct, Codec, CodecToALaterWorker, Proxy };

Layer reach(Way way, const std::string& module) {
  if (way == Way::Proxy) return {product().list, product().open(module), true};
  Layer layer{modules().direct(module), Place{MIRROR_SLOT, 0, 0}, false};
  if (way != Way::Direct) {
    CodecLayer& codec = CodecLayer::instance();
    codec = CodecLayer{};
    codec.module = *layer.list;
    codec.generation = way == Way::CodecToALaterWorker ? 3 : 0;
    codec.flatMechanisms = {FLAT_VENDOR};
    layer.list = CodecLayer::list();
    layer.place.tag = codec.generation;
  }
  EXPECT_EQ(layer.list->C_OpenSession(layer.place.slot, CKF_SERIAL_SESSION, nullptr, nullptr,
                                      &layer.place.session),
            CKR_OK);
  return layer;
}

CK_RV arm(const Layer& layer, const Scenario& s) {
  Scenario copy = s;
  return layer.list->C_SeedRandom(layer.place.session, reinterpret_cast<CK_BYTE_PTR>(&copy),
                                  sizeof copy);
}

std::string report(const Layer& layer) {
  CK_BYTE text[2000];
  EXPECT_EQ(layer.list->C_GenerateRandom(layer.place.session, text, sizeof text), CKR_OK);
  return std::string(reinterpret_cast<char*>(text), ::strnlen(reinterpret_cast<char*>(text), 2000));
}

// Begins the operation that a call goes on with.
template <Function F>
void prepare(const Layer& layer, const Scenario& s) {
  CK_MECHANISM m{static_cast<CK_MECHANISM_TYPE>(s.mechanism), nullptr, 0};
  CK_SESSION_HANDLE session = layer.place.session;
  CK_OBJECT_HANDLE key = layer.place.object(1);
  if constexpr (hasRole<F, ipc::role::SignatureOut>()) {
    ASSERT_EQ(layer.list->C_SignInit(session, &m, key), CKR_OK);
  }
  if constexpr (hasRole<F, ipc::role::MessageParameter>()) {
    // The session's other operations have another mechanism. Its own is the last to begin: the
    // codec's layer knows but one.
    CK_MECHANISM other{CKM_SHA256_HMAC, nullptr, 0};
    for (bool own : {false, true})
      for (auto& [name, begin] : {std::pair{"EncryptMessage", layer.list->C_MessageEncryptInit},
                                  std::pair{"DecryptMessage", layer.list->C_MessageDecryptInit},
                                  std::pair{"SignMessage", layer.list->C_MessageSignInit},
                                  std::pair{"VerifyMessage", layer.list->C_MessageVerifyInit}})
        if ((ipc::nameOf(F).find(name) != std::string_view::npos) == own) {
          ASSERT_EQ(begin(session, own ? &m : &other, key), CKR_OK);
        }
  }
}

// The module gets what the caller gave, and the caller what the module wrote.
template <Function F>
void mirrored(const Layer& layer, Scenario s) {
  s.function = F;
  SCOPED_TRACE(describe(s));
  Call<F> wanted(s, Place{});
  CK_RV value = answer<F>(s, Place{}, wanted.args);
  // Through the proxy no session is asynchronous, and no token says otherwise.
  if constexpr (F == Function::C_GetTokenInfo)
    if (layer.proxied && value == CKR_OK)
      std::get<1>(wanted.args)->flags &= ~CKF_ASYNC_SESSION_SUPPORTED;
  prepare<F>(layer, s);
  if (testing::Test::HasFatalFailure()) return;
  Call<F> call(s, layer.place);
  ASSERT_EQ(arm(layer, s), CKR_OK);
  CK_RV rv = std::apply(pointerOf<F>(*layer.list), call.args);
  ASSERT_EQ(report(layer), "") << CodecLayer::instance().malformed;
  EXPECT_EQ(rv, value);
  EXPECT_EQ(call.memory.difference(wanted.memory), "");
}

bool isFlat(const Shape& shape) {
  return std::none_of(shape.fields.begin(), shape.fields.end(),
                      [](const Field& f) { return f.isPointer() || f.kind == Kind::Handle; });
}

// Whether a pointer is there whose length the module writes.
bool hasRoomToLieAbout(const Shape& shape, const std::byte* image) {
  if (image == nullptr) return false;
  for (const Field& f : shape.fields)
    if (f.isPointer() && f.direction != Direction::In &&
        load<const void*>(image + f.offset) != nullptr) {
      if (f.length.rule == Length::Rule::Through) return true;
      for (const Field& other : shape.fields)
        if (!other.isPointer() && other.direction != Direction::In &&
            f.length.rule == Length::Rule::Field && f.length.value == other.offset)
          return true;
    }
  return false;
}

class EveryLayer : public testing::TestWithParam<Way> {
 protected:
  void everyFunction(const char* module, std::size_t functions, std::uint32_t seeds) {
    Layer layer = reach(GetParam(), module);
    if (!layer.proxied) seeds *= 4;
    unsigned called = 0;
    ipc::forEachFunction([&]<Function F>() {
      if (ipc::indexOf(F) >= functions || (layer.proxied && isOwn<F>())) return;
      ++called;
      for (const Scenario& s : scenariosOf<F>(1000, seeds)) {
        if (testing::Test::HasFailure()) return;
        mirrored<F>(layer, s);
      }
    });
    EXPECT_EQ(called, functions - (layer.proxied ? ownBelow(functions) : 0));
  }
  template <Function F>
  void everyShape() {
    Layer layer = reach(GetParam(), "mirror-3.2");
    auto all = shapesOf<F>(77, layer.proxied ? 2 : 8);
    ASSERT_FALSE(all.empty());
    for (const Scenario& s : all) {
      if (testing::Test::HasFailure()) return;
      mirrored<F>(layer, s);
    }
  }

 private:
  static std::size_t ownBelow(std::size_t functions) {
    std::size_t n = 0;
    for (Function f : OWN) n += ipc::indexOf(f) < functions ? 1 : 0;
    return n;
  }
};

std::string nameOf(const testing::TestParamInfo<Way>& way) {
  constexpr const char* NAMES[] = {"Direct", "Codec", "CodecToALaterWorker", "Proxy"};
  return NAMES[static_cast<int>(way.param)];
}
INSTANTIATE_TEST_SUITE_P(Mirror, EveryLayer,
                         testing::Values(Way::Direct, Way::Codec, Way::CodecToALaterWorker,
                                         Way::Proxy),
                         nameOf);

TEST_P(EveryLayer, EveryFunctionOfA32Module) {
  everyFunction("mirror-3.2", ipc::FUNCTIONS, 6);
}
TEST_P(EveryLayer, EveryFunctionOfA30Module) {
  everyFunction("mirror-3.0", ipc::FUNCTIONS_3_0, 4);
}
TEST_P(EveryLayer, EveryFunctionOfA240Module) {
  everyFunction("mirror-2.40", ipc::FUNCTIONS_2_40, 4);
}

TEST_P(EveryLayer, EveryShapeInEveryKindOfCall) {
  everyShape<Function::C_EncryptInit>();
  everyShape<Function::C_DeriveKey>();
  everyShape<Function::C_MessageEncryptInit>();
  everyShape<Function::C_EncryptMessage>();
  everyShape<Function::C_WrapKey>();
  everyShape<Function::C_UnwrapKeyAuthenticated>();
}

// Those that have no pointers travel as they lie there, whatever mechanism they are for.
TEST_P(EveryLayer, EveryStructWithoutPointers) {
  Layer layer = reach(GetParam(), "mirror-3.2");
  Scenario s;
  s.mechanism = CKM_RSA_PKCS_PSS;
  for (s.shape = 0; s.shape < ipc::shapes().size(); ++s.shape)
    if (isFlat(*ipc::shapes()[s.shape])) mirrored<Function::C_SignInit>(layer, s);
}

// What the module did not write is as it was, also where the caller had left it to chance.
TEST_P(EveryLayer, WhatAModuleLeavesAloneInAParameterStaysAsItWas) {
  Layer layer = reach(GetParam(), "mirror-3.2");
  for (Scenario s : shapesOf<Function::C_DeriveKey>(31, 2)) {
    if (testing::Test::HasFailure()) return;
    for (s.idle = 1; s.idle <= 2; ++s.idle) mirrored<Function::C_DeriveKey>(layer, s);
  }
}

// A length that is not the struct's: what is there arrives, and nothing is followed too far.
TEST_P(EveryLayer, AStructMayBeCutOrLonger) {
  Layer layer = reach(GetParam(), "mirror-3.2");
  if (layer.place.tag != 0) GTEST_SKIP() << "what is cut off may have said which handles are used";
  std::byte zeros[512] = {};
  for (Scenario s : shapesOf<Function::C_EncryptInit>(0, 1)) {
    for (int cut : {-1, -8, -9, 1, 8}) {
      if (testing::Test::HasFailure()) return;
      const Shape* shape = ipc::shapes()[s.shape];
      CK_LONG length = CK_LONG{shape->size} + cut;
      if (length < 1) continue;
      // Of mechanisms with several layouts another may have that size.
      Layout other = ipc::layoutOf(static_cast<CK_MECHANISM_TYPE>(s.mechanism), Use::Operation,
                                   zeros, static_cast<CK_ULONG>(length));
      if (other.shape != shape) continue;
      s.cut = static_cast<std::int8_t>(cut);
      s.seed = s.shape;
      mirrored<Function::C_EncryptInit>(layer, s);
    }
  }
}

TEST_P(EveryLayer, AVendorsParameterPassesWhereThePolicySaysThatItIsFlat) {
  Layer layer = reach(GetParam(), "mirror-3.2");
  Scenario s;
  s.mechanism = FLAT_VENDOR;
  mirrored<Function::C_EncryptInit>(layer, s);
  s.returnValue = CKR_MECHANISM_INVALID;
  mirrored<Function::C_EncryptInit>(layer, s);
  // Without a parameter there is nothing to misread.
  s.mechanism = OTHER_VENDOR;
  s.variant = Variant::Bare;
  mirrored<Function::C_EncryptInit>(layer, s);
  if (GetParam() == Way::Direct) return;
  for (CK_MECHANISM_TYPE type : {OTHER_VENDOR, CK_MECHANISM_TYPE{CKM_VENDOR_DEFINED}}) {
    s = Scenario{};
    s.function = Function::C_EncryptInit;
    s.mechanism = type;
    Call<Function::C_EncryptInit> call(s, layer.place);
    EXPECT_EQ(std::apply(layer.list->C_EncryptInit, call.args), CKR_MECHANISM_PARAM_INVALID);
  }
  if (layer.proxied) {
    EXPECT_TRUE(logs("mechanism 0x80004321 has a parameter that no table describes"));
  }
}

// A module that says it wrote more than there was room for would have its caller read on.
TEST_P(EveryLayer, AModuleThatLiesAboutALengthInAParameterIsNotBelieved) {
  if (GetParam() == Way::Direct) GTEST_SKIP() << "there the caller is on its own";
  auto lying = [](CK_MECHANISM_TYPE type, Use use) {
    Layout layout = ipc::layoutOf(type, use, nullptr, 0);
    auto all = ipc::shapes();
    Scenario s;
    s.function = Function::C_DeriveKey;
    s.mechanism = type;
    s.shape =
        static_cast<std::uint16_t>(std::find(all.begin(), all.end(), layout.shape) - all.begin());
    return s;
  };
  unsigned deaths = 0;
  for (CK_MECHANISM_TYPE type :
       {CKM_TLS_PRF, CKM_WTLS_PRF, CKM_KEY_WRAP_SET_OAEP, CKM_DSA_PROBABILISTIC_PARAMETER_GEN}) {
    Scenario s = lying(type, Use::Operation);
    // With a buffer to lie about.
    for (s.seed = 1;; ++s.seed) {
      Call<Function::C_DeriveKey> probe(s, Place{});
      if (answer<Function::C_DeriveKey>(s, Place{}, probe.args) == CKR_OK &&
          hasRoomToLieAbout(*ipc::shapes()[s.shape],
                            static_cast<std::byte*>(std::get<1>(probe.args)->pParameter)))
        break;
    }
    SCOPED_TRACE(describe(s));
    {
      Layer honest = reach(GetParam(), "mirror-3.2");
      mirrored<Function::C_DeriveKey>(honest, s);
      // What it says beside an error is not looked at.
      s.lies = 1;
      s.returnValue = CKR_BUFFER_TOO_SMALL;
      mirrored<Function::C_DeriveKey>(honest, s);
    }
    s.returnValue = CKR_OK;
    Layer liar = reach(GetParam(), "mirror-liar");
    // Each worker's object handles say which it is.
    if (liar.proxied) liar.place.tag = deaths;
    Call<Function::C_DeriveKey> call(s, liar.place);
    ASSERT_EQ(arm(liar, s), CKR_OK);
    EXPECT_EQ(std::apply(pointerOf<Function::C_DeriveKey>(*liar.list), call.args),
              CKR_DEVICE_REMOVED);
    ++deaths;
  }
  if (GetParam() == Way::Proxy) {
    EXPECT_TRUE(logs("C_DeriveKey has a success that claims more than there was room for"))
        << product().logged();
  }
}

// What the calls above are made from: a new struct is among them by being there.
TEST(EveryStruct, IsInACall) {
  std::set<std::string> missing;
  for (const Shape* shape : ipc::shapes())
    if (!isFlat(*shape)) missing.insert(shape->name);
  std::function<void(const Shape&)> seen = [&](const Shape& shape) {
    missing.erase(shape.name);
    for (const Field& f : shape.fields)
      if (f.shape != nullptr) seen(*f.shape);
  };
  for (Use use : {Use::Operation, Use::Message, Use::Wrap, Use::AuthenticatedWrap})
    for (bool can : {true, false})
      for (const Reached& one : reached(use, can)) seen(*ipc::shapes()[one.shape]);
  for (CK_MECHANISM_TYPE type : structuredSignatures()) seen(*ipc::signatureOf(type));
  EXPECT_EQ(missing, (std::set<std::string>{
                         "CK_AES_GCM_PARAMS", "CK_AES_CCM_PARAMS",      // others' second names
                         "CK_SSL3_RANDOM_DATA", "CK_WTLS_RANDOM_DATA",  // lie within others
                         "CK_ECDH2_DERIVE_PARAMS",  // no mechanism of the standard has it
                         "CK_ASYNC_DATA",           // of functions that are refused
                     }));
}

// ---- the proxy's own ----

TEST(Proxy, FunctionsThatAModuleLacksAreNotSupported) {
  struct {
    const char* module;
    std::size_t from;
  } lacking[] = {{"mirror-2.40", ipc::FUNCTIONS_2_40},
                 {"mirror-3.0", ipc::FUNCTIONS_3_0},
                 {"mirror-holes", 0}};
  for (auto& one : lacking) {
    Place place = product().open(one.module);
    ipc::forEachFunction([&]<Function F>() {
      if constexpr (!isOwn<F>()) {
        // The slot's description is how the slot was found.
        if (ipc::indexOf(F) < one.from || F == Function::C_GetSlotInfo) return;
        Scenario s;
        s.function = F;
        s.variant = Variant::Null;
        Call<F> call(s, place);
        EXPECT_EQ(std::apply(pointerOf<F>(*product().list), call.args), CKR_FUNCTION_NOT_SUPPORTED)
            << one.module << " " << ipc::nameOf(F);
      }
    });
  }
}

TEST(Proxy, AsynchronousCallsAreRefused) {
  auto list = product().list;
  Place place = product().open("mirror-3.2");
  CK_UTF8CHAR name[] = "C_Sign";
  CK_ASYNC_DATA data{};
  CK_ULONG id = 0;
  EXPECT_EQ(list->C_AsyncComplete(place.session, name, &data), CKR_SESSION_ASYNC_NOT_SUPPORTED);
  EXPECT_EQ(list->C_AsyncGetID(place.session, name, &id), CKR_SESSION_ASYNC_NOT_SUPPORTED);
  EXPECT_EQ(list->C_AsyncJoin(place.session, name, 1, nullptr, 0), CKR_SESSION_ASYNC_NOT_SUPPORTED);
  CK_SESSION_HANDLE session = 0;
  EXPECT_EQ(list->C_OpenSession(place.slot, CKF_SERIAL_SESSION | CKF_ASYNC_SESSION, nullptr,
                                nullptr, &session),
            CKR_SESSION_ASYNC_NOT_SUPPORTED);
  // Here the module is one that agrees to everything, also to saying nothing of its token.
  EXPECT_EQ(list->C_GetTokenInfo(place.slot, nullptr), CKR_OK);
}

TEST(Proxy, StructsWithoutLengthsAreRefusedWithALine) {
  Place place = product().open("mirror-3.2");
  auto all = reached(Use::Operation, false);
  EXPECT_EQ(all.size(), 4u);
  for (const Reached& one : all) {
    Scenario s;
    s.function = Function::C_DeriveKey;
    s.mechanism = one.mechanism;
    s.shape = one.shape;
    Call<Function::C_DeriveKey> call(s, place);
    EXPECT_EQ(std::apply(product().list->C_DeriveKey, call.args), CKR_MECHANISM_PARAM_INVALID);
  }
  EXPECT_TRUE(logs("C_DeriveKey: ") && logs("length that nothing tells")) << product().logged();
}

// What was restored may sign with anything; its signature is not taken for that of the mechanism
// that the session had before.
TEST(Proxy, ARestoredOperationForgetsTheMechanismBeforeIt) {
  auto list = product().list;
  Layer layer{list, product().open("mirror-3.2"), true};
  CK_MECHANISM m{CKM_HOTP, nullptr, 0};
  CK_BYTE state[4] = {};
  ASSERT_EQ(list->C_SignInit(layer.place.session, &m, 1), CKR_OK);
  ASSERT_EQ(list->C_SetOperationState(layer.place.session, state, sizeof state, 0, 0), CKR_OK);
  Scenario s;
  s.function = Function::C_Sign;
  // With a buffer that has room.
  for (;; ++s.seed) {
    Call<Function::C_Sign> probe(s, Place{});
    if (answer<Function::C_Sign>(s, Place{}, probe.args) == CKR_OK) break;
  }
  Call<Function::C_Sign> wanted(s, Place{});
  (void)answer<Function::C_Sign>(s, Place{}, wanted.args);
  Call<Function::C_Sign> call(s, layer.place);
  ASSERT_EQ(arm(layer, s), CKR_OK);
  EXPECT_EQ(std::apply(list->C_Sign, call.args), CKR_OK);
  EXPECT_EQ(call.memory.difference(wanted.memory), "");
}

TEST(Proxy, ASessionKnowsItsSlotByTheProxysNumber) {
  auto list = product().list;
  Place place = product().open("mirror-3.2");
  CK_SESSION_INFO info{};
  ASSERT_EQ(list->C_GetSessionInfo(place.session, &info), CKR_OK);
  EXPECT_EQ(info.slotID, place.slot);
  EXPECT_EQ(list->C_CloseSession(place.session), CKR_OK);
  EXPECT_EQ(list->C_CloseSession(place.session), CKR_SESSION_HANDLE_INVALID);
}

template <typename List>
void hasNoHoles(const void* functionList, std::size_t functions) {
  auto list = static_cast<const List*>(functionList);
  auto first = reinterpret_cast<void (*const*)()>(&list->C_Initialize);
  for (std::size_t i = 0; i < functions; ++i)
    EXPECT_NE(first[i], nullptr) << ipc::FUNCTION_NAMES[i];
}

TEST(Proxy, InterfacesOfThreeVersionsWithoutHoles) {
  CK_ULONG n = 0;
  ASSERT_EQ(product().getInterfaceList(nullptr, &n), CKR_OK);
  ASSERT_EQ(n, 3u);
  CK_INTERFACE all[3];
  n = 2;
  EXPECT_EQ(product().getInterfaceList(all, &n), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(n, 3u);
  EXPECT_EQ(product().getInterfaceList(nullptr, nullptr), CKR_ARGUMENTS_BAD);
  ASSERT_EQ(product().getInterfaceList(all, &n), CKR_OK);
  std::set<std::pair<int, int>> versions;
  for (const CK_INTERFACE& one : all) {
    EXPECT_STREQ(reinterpret_cast<const char*>(one.pInterfaceName), "PKCS 11");
    EXPECT_EQ(one.flags, 0U);
    auto version = load<CK_VERSION>(one.pFunctionList);
    versions.insert({version.major, version.minor});
  }
  EXPECT_EQ(versions, (std::set<std::pair<int, int>>{{2, 40}, {3, 0}, {3, 2}}));

  for (CK_VERSION v : {CK_VERSION{2, 40}, CK_VERSION{3, 0}, CK_VERSION{3, 2}}) {
    CK_INTERFACE_PTR one = nullptr;
    CK_UTF8CHAR name[] = "PKCS 11";
    ASSERT_EQ(product().getInterface(name, &v, &one, 0), CKR_OK);
    auto got = load<CK_VERSION>(one->pFunctionList);
    EXPECT_EQ(got.major, v.major);
    EXPECT_EQ(got.minor, v.minor);
    if (v.major == 2)
      hasNoHoles<CK_FUNCTION_LIST>(one->pFunctionList, ipc::FUNCTIONS_2_40);
    else if (v.minor == 0)
      hasNoHoles<CK_FUNCTION_LIST_3_0>(one->pFunctionList, ipc::FUNCTIONS_3_0);
    else
      hasNoHoles<CK_FUNCTION_LIST_3_2>(one->pFunctionList, ipc::FUNCTIONS);
  }
  CK_INTERFACE_PTR one = nullptr;
  CK_UTF8CHAR other[] = "Vendor nobody";
  EXPECT_NE(product().getInterface(other, nullptr, &one, 0), CKR_OK);
  CK_VERSION none{9, 9};
  EXPECT_NE(product().getInterface(nullptr, &none, &one, 0), CKR_OK);
  // A forked child has none of its parent's sessions, and no list says otherwise.
  EXPECT_NE(product().getInterface(nullptr, nullptr, &one, CKF_INTERFACE_FORK_SAFE), CKR_OK);
  EXPECT_EQ(product().getInterface(nullptr, nullptr, nullptr, 0), CKR_ARGUMENTS_BAD);
}

TEST(Proxy, WhoAsksForNoVersionGetsTheNewest) {
  auto versionOf = [](const void* list) {
    auto version = load<CK_VERSION>(list);
    return std::to_string(version.major) + "." + std::to_string(version.minor);
  };
  CK_INTERFACE_PTR one = nullptr;
  ASSERT_EQ(product().getInterface(nullptr, nullptr, &one, 0), CKR_OK);
  EXPECT_EQ(versionOf(one->pFunctionList), "3.2");
  // 3.1 added no function.
  CK_VERSION version{3, 1};
  ASSERT_EQ(product().getInterface(nullptr, &version, &one, 0), CKR_OK);
  EXPECT_EQ(versionOf(one->pFunctionList), "3.0");
  CK_FUNCTION_LIST_PTR old = nullptr;
  ASSERT_EQ(product().getFunctionList(&old), CKR_OK);
  EXPECT_EQ(versionOf(old), "2.40");
  hasNoHoles<CK_FUNCTION_LIST>(old, ipc::FUNCTIONS_2_40);
}

}  // namespace
}  // namespace bulkhead::mirror
