// SPDX-License-Identifier: BSD-2-Clause
//
// The same calls as in codec_test.cpp, from an application's side of the real proxy, with a mirror
// module in a real worker behind it.
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "mirror.h"

namespace bulkhead::mirror {
namespace {

constexpr CK_MECHANISM_TYPE FLAT_VENDOR = CKM_VENDOR_DEFINED | 0x1234;
constexpr CK_MECHANISM_TYPE OTHER_VENDOR = CKM_VENDOR_DEFINED | 0x4321;
constexpr const char* MODULES[] = {"mirror-2.40", "mirror-3.0", "mirror-3.2", "mirror-holes"};

// Private directories, the proxy with its configuration in them, and what it wrote to stderr.
class Product : public testing::Environment {
 public:
  void SetUp() override {
    const char* path = std::getenv("BULKHEAD_PROXY");
    const char* module = std::getenv("MIRROR_MODULE");
    ASSERT_TRUE(path != nullptr && module != nullptr) << "run by meson test";
    char pattern[] = "/tmp/bulkhead-mirror-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    directory = pattern;
    for (const char* name : MODULES) {
      std::filesystem::copy_file(module, directory / (std::string(name) + ".so"));
      write(std::string("modules/") + name + ".module",
            "module: " + (directory / name).string() + ".so\n");
    }
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
    ::dup2(stderr_, 2);
    ::close(stderr_);
    if (testing::UnitTest::GetInstance()->Failed()) std::fputs(logged().c_str(), stderr);
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

  template <Function F>
  typename ipc::Line<F>::Pointer function() {
    auto first = reinterpret_cast<void (**)()>(&list->C_Initialize);
    return reinterpret_cast<typename ipc::Line<F>::Pointer>(first[ipc::indexOf(F)]);
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
  int stderr_ = -1;
};

Product& product() {
  static auto* one = static_cast<Product*>(testing::AddGlobalTestEnvironment(new Product));
  return *one;
}
// Before main: gtest sets up what it knows by then.
Product& registered = product();

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

template <Function F>
constexpr bool takesMessageParameter() {
  return []<typename... Roles>(std::type_identity<std::tuple<Roles...>>) {
    return (std::is_same_v<Roles, ipc::role::MessageParameter> || ...);
  }(std::type_identity<typename ipc::Line<F>::Roles>{});
}

CK_RV arm(const Place& place, const Scenario& s) {
  Scenario copy = s;
  return product().list->C_SeedRandom(place.session, reinterpret_cast<CK_BYTE_PTR>(&copy),
                                      sizeof copy);
}

std::string report(const Place& place) {
  CK_BYTE text[2000];
  EXPECT_EQ(product().list->C_GenerateRandom(place.session, text, sizeof text), CKR_OK);
  return std::string(reinterpret_cast<char*>(text), ::strnlen(reinterpret_cast<char*>(text), 2000));
}

// The call with a session whose message operations have the scenario's mechanism.
template <Function F>
void prepare(const Place& place, const Scenario& s) {
  if constexpr (takesMessageParameter<F>()) {
    CK_MECHANISM m{static_cast<CK_MECHANISM_TYPE>(s.mechanism), nullptr, 0};
    auto list = product().list;
    ASSERT_EQ(list->C_MessageEncryptInit(place.session, &m, 1), CKR_OK);
    ASSERT_EQ(list->C_MessageDecryptInit(place.session, &m, 1), CKR_OK);
    ASSERT_EQ(list->C_MessageSignInit(place.session, &m, 1), CKR_OK);
    ASSERT_EQ(list->C_MessageVerifyInit(place.session, &m, 1), CKR_OK);
  }
}

template <Function F>
void mirrored(const Place& place, Scenario s) {
  s.function = F;
  SCOPED_TRACE(std::string(ipc::nameOf(F)) + " variant " +
               std::to_string(static_cast<unsigned>(s.variant)) + " seed " +
               std::to_string(s.seed) + " mechanism " + Memory::hex(s.mechanism));
  Call<F> direct(s, Place{});
  CK_RV wanted = answer<F>(s, Place{}, direct.args);
  prepare<F>(place, s);
  Call<F> remote(s, place);
  ASSERT_EQ(arm(place, s), CKR_OK);
  CK_RV rv = std::apply(product().function<F>(), remote.args);
  ASSERT_EQ(report(place), "");
  EXPECT_EQ(rv, wanted);
  EXPECT_EQ(remote.memory.difference(direct.memory), "");
}

constexpr CK_RV VALUES[] = {CKR_OK, CKR_DEVICE_ERROR, 0xdeadbeef, CKR_BUFFER_TOO_SMALL};

void everyFunction(const char* module, std::size_t functions, unsigned seeds) {
  Place place = product().open(module);
  ipc::forEachFunction([&]<Function F>() {
    if constexpr (!isOwn<F>()) {
      if (ipc::indexOf(F) >= functions) return;
      std::vector<Reached> mechanisms;
      if (auto use = usesMechanism<F>()) mechanisms = reached(*use);
      for (std::uint8_t variant = 0; variant < VARIANTS; ++variant) {
        for (std::uint32_t seed = 0; seed < seeds; ++seed) {
          if (testing::Test::HasFailure()) return;
          Scenario s;
          s.variant = static_cast<Variant>(variant);
          s.seed = 1000 + seed;
          s.returnValue = VALUES[seed % std::size(VALUES)];
          if (!mechanisms.empty() && seed % 3 != 0) {
            const Reached& one = mechanisms[(seed * 37U + variant) % mechanisms.size()];
            s.mechanism = one.mechanism;
            s.shape = one.shape;
          }
          mirrored<F>(place, s);
        }
      }
    }
  });
  EXPECT_EQ(product().list->C_CloseSession(place.session), CKR_OK);
}

TEST(Proxy, EveryFunctionOfA32Module) {
  everyFunction("mirror-3.2", ipc::FUNCTIONS, 6);
}
TEST(Proxy, EveryFunctionOfA30Module) {
  everyFunction("mirror-3.0", ipc::FUNCTIONS_3_0, 4);
}
TEST(Proxy, EveryFunctionOfA240Module) {
  everyFunction("mirror-2.40", ipc::FUNCTIONS_2_40, 4);
}

template <Function F>
void everyShape(Use use) {
  Place place = product().open("mirror-3.2");
  auto all = reached(use);
  ASSERT_FALSE(all.empty());
  for (const Reached& one : all) {
    for (std::uint32_t seed = 0; seed < 2; ++seed) {
      if (testing::Test::HasFailure()) return;
      Scenario s;
      s.mechanism = one.mechanism;
      s.shape = one.shape;
      s.seed = 77 + seed;
      s.returnValue = VALUES[seed % std::size(VALUES)];
      mirrored<F>(place, s);
    }
  }
}

TEST(Proxy, EveryShapeInEveryKindOfCall) {
  everyShape<Function::C_DeriveKey>(Use::Operation);
  everyShape<Function::C_EncryptMessage>(Use::Message);
  everyShape<Function::C_WrapKey>(Use::Wrap);
  everyShape<Function::C_UnwrapKeyAuthenticated>(Use::AuthenticatedWrap);
}

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
        EXPECT_EQ(std::apply(product().function<F>(), call.args), CKR_FUNCTION_NOT_SUPPORTED)
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
  // The supervisor writes on its own time.
  for (int i = 0; i < 100; ++i) {
    if (product().logged().find("C_DeriveKey: ") != std::string::npos) break;
    ::usleep(50'000);
  }
  EXPECT_NE(product().logged().find("length that nothing tells"), std::string::npos)
      << product().logged();
}

TEST(Proxy, AVendorsParameterPassesWhereThePolicySaysThatItIsFlat) {
  Place place = product().open("mirror-3.2");
  Scenario s;
  s.mechanism = FLAT_VENDOR;
  mirrored<Function::C_EncryptInit>(place, s);
  s.returnValue = CKR_MECHANISM_INVALID;
  mirrored<Function::C_EncryptInit>(place, s);
  s.mechanism = OTHER_VENDOR;
  s.function = Function::C_EncryptInit;
  Call<Function::C_EncryptInit> call(s, place);
  EXPECT_EQ(std::apply(product().list->C_EncryptInit, call.args), CKR_MECHANISM_PARAM_INVALID);
  s.variant = Variant::Bare;
  mirrored<Function::C_EncryptInit>(place, s);
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
}

}  // namespace
}  // namespace bulkhead::mirror
