// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/policy.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ini.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <new>
#include <span>

#include "ipc/catalogue.h"
#include "ipc/descriptor.h"
#include "sandbox/syscall_groups.h"

#ifndef BULKHEAD_POLICY_DIR
#define BULKHEAD_POLICY_DIR "/usr/share/bulkhead/policies"
#endif
#ifndef BULKHEAD_POLICY_ETC
#define BULKHEAD_POLICY_ETC "/etc/bulkhead/policies"
#endif

namespace bulkhead::sandbox {
namespace {

using std::chrono::milliseconds;
using Text = std::string_view;

// Far above any real policy, and low enough that a hostile file costs no noticeable time.
constexpr std::size_t MAX_FILE = 64 << 10;
constexpr std::size_t MAX_ERRORS = 50;
constexpr Text BLANKS = " \t";

// ---- Small things about text -------------------------------------------------------------------

Text trimmed(Text text) {
  auto start = text.find_first_not_of(BLANKS);
  if (start == Text::npos) return {};
  return text.substr(start, text.find_last_not_of(BLANKS) - start + 1);
}

bool isLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool isDigit(char c) {
  return c >= '0' && c <= '9';
}

// What section names and keys are made of.
bool isIdentifier(Text text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return isLetter(c) || isDigit(c) || c == '-' || c == '_';
  });
}

bool isVariableName(Text text) {
  return !text.empty() && !isDigit(text[0]) && std::all_of(text.begin(), text.end(), [](char c) {
    return isLetter(c) || isDigit(c) || c == '_';
  });
}

bool isIgnored(Text name) {
  return name.starts_with("X-");
}

std::string quoted(Text text) {
  // A message is one line that fits a log.
  constexpr std::size_t LONGEST = 80;
  std::string result = "'";
  result += text.substr(0, LONGEST);
  if (text.size() > LONGEST) result += "...";
  return result += "'";
}

template <typename Number>
std::optional<Number> parseNumber(Text text, int base = 10) {
  Number number{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return {};
  return number;
}

// ---- Suggestions -------------------------------------------------------------------------------

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Edits, swaps of neighbours among them, that make one word of the other.
std::size_t distance(Text a, Text b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
          lower(a[i - 2]) == lower(b[j - 1]))
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

// The candidate that is near enough to be meant, or nothing.
Text nearest(Text word, const std::vector<Text>& candidates) {
  constexpr std::size_t LONGEST = 64;
  if (word.size() > LONGEST) return {};
  Text best;
  std::size_t bestDistance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (Text candidate : candidates) {
    std::size_t d = distance(word, candidate);
    if (d >= bestDistance || d >= candidate.size()) continue;
    best = candidate;
    bestDistance = d;
  }
  return best;
}

// ---- One assignment ----------------------------------------------------------------------------

struct Word {
  std::string text;
  bool quoted = false;
};

// What reading one text goes along with.
struct Reading {
  const std::string& file;
  const Specifiers& specifiers;
  Policy& policy;
  std::vector<Error> errors{};
  unsigned line = 0;
  bool matchUncertain = false;  // what is wrong may be the Match= that this file should have had

  // Beyond so many errors nobody reads them, and each costs a search for what may have been meant.
  bool full() const { return errors.size() > MAX_ERRORS; }

  void fail(Text place, Text what) {
    if (full()) return;
    std::string detail = file + ":" + std::to_string(line) + ": ";
    if (errors.size() == MAX_ERRORS) {
      detail += "too many errors, the rest is not shown";
    } else {
      detail += place;
      if (!place.empty()) detail += ": ";
      detail += what;
    }
    errors.push_back(Error{"policy", 0, std::move(detail)});
  }

  std::string suggestion(Text word, const std::vector<Text>& candidates, Text before = {},
                         Text after = {}) const {
    if (full()) return {};
    Text meant = nearest(word, candidates);
    if (meant.empty()) return {};
    std::string text = ", did you mean ";
    text += before;
    text += meant;
    text += after;
    return text += "?";
  }
};

struct Assignment {
  Reading& reading;
  Text section;
  Text key;
  Text value;

  Policy& policy() const { return reading.policy; }

  void fail(const std::string& what) const {
    std::string place = "[";
    place += section;
    place += "] ";
    place += key;
    place += "=";
    reading.fail(place, what);
  }

  // The value's words: blanks separate, quotes join, \ takes the next character for itself.
  std::optional<std::vector<Word>> words() const {
    std::vector<Word> list;
    std::optional<Word> word;
    char quote = 0;
    for (std::size_t i = 0; i < value.size(); ++i) {
      char c = value[i];
      if (quote == 0 && (c == ' ' || c == '\t')) {
        if (word) list.push_back(std::move(*word));
        word.reset();
        continue;
      }
      if (!word) word.emplace();
      if (quote != 0 && c == quote) {
        quote = 0;
      } else if (quote == 0 && (c == '"' || c == '\'')) {
        quote = c;
        word->quoted = true;
      } else if (c == '\\' && quote != '\'') {
        if (++i == value.size()) {
          fail("a line is not continued by \\: assign again, which appends");
          return {};
        }
        word->text += value[i];
        word->quoted = true;
      } else {
        if (quote == 0 && word->text.empty() && !word->quoted && (c == '#' || c == ';')) {
          fail("a comment has a line of its own; quote a word that begins with # or ;");
          return {};
        }
        word->text += c;
      }
    }
    if (quote != 0) {
      fail(std::string("no closing ") + quote);
      return {};
    }
    if (word) list.push_back(std::move(*word));
    return list;
  }

  // The value as one word.
  std::optional<std::string> word() const {
    auto list = words();
    if (!list) return {};
    if (list->size() != 1) {
      fail("one value is expected, not " + std::to_string(list->size()));
      return {};
    }
    return std::move(list->front().text);
  }

  // Replaces the specifiers. With `missing`, one that stands for nothing here isn't an error but
  // makes that true.
  std::optional<std::string> expanded(Text text, bool* missing = nullptr) const {
    const Specifiers& given = reading.specifiers;
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '%') {
        result += text[i];
        continue;
      }
      char letter = ++i < text.size() ? text[i] : '\0';
      const std::string* stands = nullptr;
      switch (letter) {
        case '%':
          result += '%';
          continue;
        case 'h':
          stands = &given.home;
          break;
        case 'u':
          stands = &given.userName;
          break;
        case 'U':
          stands = &given.userId;
          break;
        case 't':
          stands = &given.runtimeDirectory;
          break;
        default:
          fail((letter == '\0' ? std::string("a lone %")
                               : "unknown specifier '%" + std::string(1, letter) + "'") +
               ": there are %h %u %U %t, and %% for a %");
          return {};
      }
      if (stands->empty()) {
        if (missing == nullptr) {
          fail("%" + std::string(1, letter) + " stands for nothing here: this user has none");
          return {};
        }
        *missing = true;
      }
      result += *stands;
    }
    return result;
  }

  std::string suggestion(Text word, const std::vector<Text>& candidates) const {
    return reading.suggestion(word, candidates);
  }
};

// ---- Values ------------------------------------------------------------------------------------

// An absolute path in its plainest form.
std::optional<std::string> plainPath(const Assignment& a, Text path) {
  if (!path.starts_with('/')) {
    a.fail(quoted(path) + " is not an absolute path" +
           (path.starts_with("~") ? ", a home directory is %h" : ""));
    return {};
  }
  std::string plain;
  while (!path.empty()) {
    auto end = path.find('/');
    Text part = path.substr(0, end);
    if (part == "..") {
      a.fail("a path may not contain ..");
      return {};
    }
    if (!part.empty() && part != ".") {
      plain += '/';
      plain += part;
    }
    if (end == Text::npos) break;
    path.remove_prefix(end + 1);
  }
  if (plain.empty()) plain = "/";
  if (plain.size() >= PATH_MAX) {
    a.fail("the path is too long");
    return {};
  }
  return plain;
}

struct Unit {
  Text name;
  std::uint64_t factor;
};

constexpr Unit TIME_UNITS[] = {{"ms", 1},           {"msec", 1},          {"s", 1000},
                               {"sec", 1000},       {"second", 1000},     {"seconds", 1000},
                               {"m", 60'000},       {"min", 60'000},      {"minute", 60'000},
                               {"minutes", 60'000}, {"h", 3'600'000},     {"hr", 3'600'000},
                               {"hour", 3'600'000}, {"hours", 3'600'000}, {"d", 86'400'000},
                               {"day", 86'400'000}, {"days", 86'400'000}};

constexpr Unit SIZE_UNITS[] = {{"", 1},
                               {"K", std::uint64_t{1} << 10},
                               {"M", std::uint64_t{1} << 20},
                               {"G", std::uint64_t{1} << 30},
                               {"T", std::uint64_t{1} << 40}};

// Waits are counted in an int of milliseconds by more than one system call.
constexpr std::uint64_t LONGEST_MS = INT_MAX;

std::optional<std::uint64_t> timesUnit(std::uint64_t number, std::uint64_t factor) {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(number, factor, &product)) return {};
  return product;
}

// 10, 10s, 500ms, 1.5s, 1min 30s; infinity is zero.
std::optional<milliseconds> parseTime(const Assignment& a, Text text, bool infinityAllowed) {
  Text whole = trimmed(text);
  auto malformed = [&]() -> std::optional<milliseconds> {
    a.fail(quoted(whole) + " is not a time such as 10, 500ms, 2min or 1min 30s" +
           (infinityAllowed ? ", nor infinity" : ""));
    return {};
  };
  if (whole == "infinity") {
    if (infinityAllowed) return milliseconds{0};
    a.fail("this time has to end: infinity is not possible here");
    return {};
  }
  std::uint64_t total = 0;
  Text rest = whole;
  if (rest.empty()) return malformed();
  while (!rest.empty()) {
    auto digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
    auto number = parseNumber<std::uint64_t>(rest.substr(0, digits));
    if (!number) return malformed();
    rest.remove_prefix(digits);
    std::uint64_t thousandths = 0;
    if (rest.starts_with('.')) {
      rest.remove_prefix(1);
      digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
      auto fraction = parseNumber<std::uint64_t>(rest.substr(0, digits));
      if (!fraction || digits > 3) return malformed();
      thousandths = *fraction;
      for (std::size_t i = digits; i < 3; ++i) thousandths *= 10;
      rest.remove_prefix(digits);
    }
    rest = trimmed(rest);
    std::size_t letters = 0;
    while (letters < rest.size() && isLetter(rest[letters])) ++letters;
    Text name = rest.substr(0, letters);
    rest = trimmed(rest.substr(letters));
    const Unit* unit = nullptr;
    for (const Unit& one : TIME_UNITS)
      if (name == one.name || (name.empty() && one.name == "s")) unit = &one;
    if (unit == nullptr) return malformed();
    auto part = timesUnit(*number, unit->factor);
    if (!part || *part > LONGEST_MS || total > LONGEST_MS) {
      total = LONGEST_MS + 1;
      continue;
    }
    total += *part + thousandths * unit->factor / 1000;
  }
  if (total > LONGEST_MS) {
    a.fail(quoted(whole) + " is longer than 24 days" + (infinityAllowed ? ": use infinity" : ""));
    return {};
  }
  if (total == 0) {
    a.fail(std::string("the time has to be more than 0") +
           (infinityAllowed ? "; for none use infinity" : ""));
    return {};
  }
  return milliseconds{static_cast<milliseconds::rep>(total)};
}

std::optional<Limit> parseSize(const Assignment& a, Text text) {
  if (text == "infinity") return Limit{};
  auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  auto number = parseNumber<std::uint64_t>(text.substr(0, digits));
  for (const Unit& unit : SIZE_UNITS) {
    if (!number || text.substr(digits) != unit.name) continue;
    if (auto bytes = timesUnit(*number, unit.factor)) return Limit{*bytes};
    a.fail(quoted(text) + " is too large");
    return {};
  }
  a.fail(quoted(text) + " is not a size such as 65536, 64K, 64M or 1G, nor infinity");
  return {};
}

// ---- Kinds of keys -----------------------------------------------------------------------------

// The defaults that an empty assignment goes back to.
const Policy& defaults() {
  static const Policy POLICY = builtInPolicy();
  return POLICY;
}

template <typename Value>
struct Choice {
  Text name;
  Value value;
};

template <typename Value, std::size_t N>
void assignChoice(const Assignment& a, Value& target, const Value& standard,
                  const Choice<Value> (&choices)[N]) {
  if (a.value.empty()) {
    target = standard;
    return;
  }
  auto word = a.word();
  if (!word) return;
  std::vector<Text> names;
  std::string list;
  for (const auto& choice : choices) {
    if (*word == choice.name) {
      target = choice.value;
      return;
    }
    names.push_back(choice.name);
    list += list.empty() ? "" : ", ";
    list += choice.name;
  }
  a.fail("unknown value " + quoted(*word) + a.suggestion(*word, names) + " (" + list + ")");
}

// Lists append, an empty assignment empties them, ~ takes away what has to be there, and ~- what
// may be there.
template <typename Value, typename Parse, typename Same = std::equal_to<>>
void assignList(const Assignment& a, std::vector<Value>& list, Parse&& parse, Same same = {}) {
  if (a.value.empty()) {
    list.clear();
    return;
  }
  auto words = a.words();
  if (!words) return;
  for (const Word& word : *words) {
    Text text = word.text;
    bool remove = text.starts_with('~');
    bool perhaps = text.starts_with("~-");
    if (remove) text.remove_prefix(perhaps ? 2 : 1);
    bool skip = false;
    std::optional<Value> value = parse(text, skip);
    if (!value || skip) continue;
    auto found =
        std::find_if(list.begin(), list.end(), [&](const Value& one) { return same(one, *value); });
    if (!remove) {
      // Said again it counts as said last: -/path may become /path.
      if (found == list.end())
        list.push_back(std::move(*value));
      else
        *found = std::move(*value);
    } else if (found != list.end()) {
      list.erase(found);
    } else if (!perhaps) {
      a.fail(quoted(text) + " is not in the list, so ~ can't remove it" +
             (text.starts_with('/') ? "; a home directory is %h, and ~- removes what may be there"
                                    : "; ~- removes what may be there"));
    }
  }
}

void assignPaths(const Assignment& a, std::vector<PolicyPath>& list, Text below = {}) {
  assignList(
      a, list,
      [&](Text text, bool& skip) -> std::optional<PolicyPath> {
        PolicyPath path;
        path.optional = text.starts_with('-');
        if (path.optional) text.remove_prefix(1);
        bool missing = false;
        auto name = a.expanded(text, path.optional ? &missing : nullptr);
        if (!name) return {};
        skip = missing;
        if (skip) return path;
        auto plain = plainPath(a, *name);
        if (!plain) return {};
        if (plain->find_first_of("*?") != std::string::npos) {
          a.fail("patterns are not expanded: name the directory instead of " + quoted(*plain));
          return {};
        }
        if (!below.empty() && !plain->starts_with(below)) {
          a.fail(quoted(*plain) + " is not a device: it is not below " + std::string(below));
          return {};
        }
        path.path = std::move(*plain);
        return path;
      },
      [](const PolicyPath& x, const PolicyPath& y) { return x.path == y.path; });
}

// Names out of a fixed set.
template <std::size_t N>
void assignNames(const Assignment& a, std::vector<std::string>& list, const Text (&names)[N],
                 Text what) {
  assignList(a, list, [&](Text text, bool&) -> std::optional<std::string> {
    if (std::find(std::begin(names), std::end(names), text) != std::end(names))
      return std::string(text);
    a.fail("unknown " + std::string(what) + " " + quoted(text) +
           a.suggestion(text, {std::begin(names), std::end(names)}));
    return {};
  });
}

void assignBoolean(const Assignment& a, bool& target, bool standard) {
  constexpr Choice<bool> CHOICES[] = {{"yes", true},    {"no", false}, {"true", true},
                                      {"false", false}, {"on", true},  {"off", false},
                                      {"1", true},      {"0", false}};
  assignChoice(a, target, standard, CHOICES);
}

void assignTime(const Assignment& a, milliseconds& target, milliseconds standard) {
  if (a.value.empty())
    target = standard;
  else if (auto time = parseTime(a, a.value, false))
    target = *time;
}

void assignSize(const Assignment& a, Limit& target, const Limit& standard, std::uint64_t least) {
  if (a.value.empty()) {
    target = standard;
    return;
  }
  auto word = a.word();
  if (!word) return;
  auto size = parseSize(a, *word);
  if (!size) return;
  if (*size && **size < least)
    a.fail(quoted(*word) + " is less than a worker can start with, " + std::to_string(least));
  else
    target = *size;
}

// A count: no units, infinity where there may be none.
void assignCount(const Assignment& a, Limit& target, const Limit& standard, std::uint64_t least,
                 std::uint64_t most, bool infinityAllowed) {
  if (a.value.empty()) {
    target = standard;
    return;
  }
  auto word = a.word();
  if (!word) return;
  if (infinityAllowed && *word == "infinity") {
    target.reset();
    return;
  }
  auto number = parseNumber<std::uint64_t>(*word);
  if (!number || *number < least || *number > most)
    a.fail(quoted(*word) + " is not a number from " + std::to_string(least) + " to " +
           std::to_string(most) + (infinityAllowed ? ", nor infinity" : ""));
  else
    target = *number;
}

void assignCount(const Assignment& a, std::uint32_t& target, std::uint32_t standard,
                 std::uint32_t least) {
  Limit limit = target;
  assignCount(a, limit, standard, least, UINT32_MAX, false);
  target = static_cast<std::uint32_t>(limit.value_or(standard));
}

// ---- The keys ----------------------------------------------------------------------------------

void assignMatch(const Assignment& a) {
  assignList(a, a.policy().match, [&](Text text, bool&) -> std::optional<std::string> {
    if (text.empty() || text.find('/') != Text::npos) {
      a.fail(quoted(text) + " is no pattern for a file name: it is matched without directories");
      return {};
    }
    return std::string(text);
  });
}

void assignEnvironment(const Assignment& a) {
  auto& environment = a.policy().environment;
  if (a.value.empty()) {
    environment.clear();
    return;
  }
  auto words = a.words();
  if (!words) return;
  for (const Word& word : *words) {
    Text text = word.text;
    auto equals = text.find('=');
    if (equals == Text::npos && text.starts_with('~')) {
      bool perhaps = text.starts_with("~-");
      text.remove_prefix(perhaps ? 2 : 1);
      if (environment.erase(std::string(text)) == 0 && !perhaps)
        a.fail(quoted(text) + " is not in the list, so ~ can't remove it");
      continue;
    }
    // The value may be a secret: messages show the name at most.
    Text name = text.substr(0, equals);
    if (equals == Text::npos) {
      a.fail("a word has no =: it takes NAME=value, with quotes around what contains blanks");
    } else if (!isVariableName(name)) {
      a.fail(quoted(name) + " is no name of a variable");
    } else if (auto value = a.expanded(text.substr(equals + 1))) {
      environment[std::string(name)] = std::move(*value);
    }
  }
}

void assignPassEnvironment(const Assignment& a) {
  assignList(a, a.policy().passEnvironment, [&](Text text, bool&) -> std::optional<std::string> {
    if (isVariableName(text)) return std::string(text);
    a.fail(quoted(text) + " is no name of a variable" +
           (text.find('=') != Text::npos ? ": a value is set by Environment=" : ""));
    return {};
  });
}

void assignCallTimeout(const Assignment& a) {
  Policy& policy = a.policy();
  if (a.value.empty()) {
    policy.callTimeout = defaults().callTimeout;
    policy.callTimeouts = defaults().callTimeouts;
    return;
  }
  auto words = a.words();
  if (!words) return;
  bool general = false;
  for (const Word& word : *words) {
    Text text = word.text;
    auto colon = text.find(':');
    if (colon == Text::npos) {
      if (text.starts_with("C_")) {
        a.fail(quoted(text) + " has no time: it takes " + std::string(text.substr(0, 40)) + ":300");
        continue;
      }
      auto time = parseTime(a, text, true);
      if (!time) continue;
      if (general) {
        a.fail("two times for all functions; one for a function is C_Login:300");
        continue;
      }
      policy.callTimeout = *time;
      general = true;
      continue;
    }
    Text function = text.substr(0, colon);
    const auto& names = ipc::FUNCTION_NAMES;
    if (std::find(std::begin(names), std::end(names), function) == std::end(names)) {
      a.fail("unknown function " + quoted(function) +
             a.suggestion(function, {std::begin(names), std::end(names)}));
      continue;
    }
    if (auto time = parseTime(a, text.substr(colon + 1), true))
      policy.callTimeouts[std::string(function)] = *time;
  }
}

void assignWorkingDirectory(const Assignment& a) {
  if (a.value.empty()) {
    a.policy().workingDirectory = defaults().workingDirectory;
    return;
  }
  auto word = a.word();
  auto name = word ? a.expanded(*word) : std::nullopt;
  if (!name) return;
  if (auto path = plainPath(a, *name)) a.policy().workingDirectory = std::move(*path);
}

void assignShare(const Assignment& a) {
  constexpr Choice<WorkerSharing> CHOICES[] = {{"process", WorkerSharing::Process},
                                               {"consumer", WorkerSharing::Consumer}};
  assignChoice(a, a.policy().share, defaults().share, CHOICES);
}

void assignCpuQuota(const Assignment& a) {
  Limit& quota = a.policy().cpuQuotaPercent;
  if (a.value.empty()) {
    quota = defaults().cpuQuotaPercent;
    return;
  }
  auto word = a.word();
  if (!word) return;
  if (*word == "infinity") {
    quota.reset();
    return;
  }
  Text text = *word;
  auto number = text.ends_with('%') ? parseNumber<std::uint32_t>(text.substr(0, text.size() - 1))
                                    : std::nullopt;
  if (!number || *number == 0 || *number > 1'000'000)
    a.fail(quoted(text) + " is not a share of one processor such as 50% or 200%, nor infinity");
  else
    quota = *number;
}

void assignMaxMessage(const Assignment& a) {
  // What the format of messages can hold, and what the smallest calls need.
  constexpr std::uint64_t LEAST = 64 << 10;
  constexpr std::uint64_t MOST = std::uint64_t{1} << 30;
  auto& target = a.policy().maxMessage;
  if (a.value.empty()) {
    target = defaults().maxMessage;
    return;
  }
  auto word = a.word();
  auto size = word ? parseSize(a, *word) : std::nullopt;
  if (!size) return;
  if (!*size || **size < LEAST || **size > MOST)
    a.fail(quoted(*word) + " is not from 64K to 1G");
  else
    target = **size;
}

void assignNetwork(const Assignment& a) {
  constexpr Choice<NetworkAccess> CHOICES[] = {{"none", NetworkAccess::None},
                                               {"unix", NetworkAccess::Unix},
                                               {"client", NetworkAccess::Client}};
  assignChoice(a, a.policy().network, defaults().network, CHOICES);
}

bool isHostName(Text text) {
  return !text.empty() && text.size() <= 253 && text.front() != '-' && text.front() != '.' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return isLetter(c) || isDigit(c) || c == '-' || c == '.' || c == '_';
         });
}

// Whether `host` names somebody: a name, an address, or a network without stray bits.
bool checkHost(const Assignment& a, Text host, bool bracketed) {
  auto slash = host.find('/');
  std::string address(host.substr(0, slash));
  std::array<unsigned char, 16> bytes{};
  unsigned bits = 0;
  if (::inet_pton(AF_INET, address.c_str(), bytes.data()) == 1)
    bits = 32;
  else if (::inet_pton(AF_INET6, address.c_str(), bytes.data()) == 1)
    bits = 128;
  if (bracketed != (bits == 128)) {
    a.fail(quoted(host) + (bracketed ? " is no IPv6 address, yet in brackets"
                                     : " is an IPv6 address: it goes into brackets"));
    return false;
  }
  if (slash == Text::npos) {
    // A name of digits only is an address that went wrong.
    if (bits != 0 || (isHostName(host) && std::any_of(host.begin(), host.end(), isLetter)))
      return true;
    a.fail(quoted(host) + " is neither an address nor a name");
    return false;
  }
  auto prefix = parseNumber<unsigned>(host.substr(slash + 1));
  if (bits == 0 || !prefix || *prefix > bits) {
    a.fail(quoted(host) + " is not an address with a prefix length");
    return false;
  }
  for (unsigned bit = *prefix; bit < bits; ++bit) {
    if ((bytes[bit / 8] & (0x80U >> (bit % 8))) == 0) continue;
    a.fail(quoted(host) + " has bits set beyond its prefix length: write the network's address");
    return false;
  }
  return true;
}

std::optional<Destination> parseDestination(const Assignment& a, Text written) {
  Destination destination;
  if (written.starts_with('@')) {
    std::vector<Text> names;
    for (const NamedSocket& socket : NAMED_SOCKETS) {
      if (socket.name == written) {
        destination.path = socket.path;
        return destination;
      }
      names.push_back(socket.name);
    }
    a.fail("unknown socket " + quoted(written) + a.suggestion(written, names));
    return {};
  }
  auto expanded = a.expanded(written);
  if (!expanded) return {};
  Text text = *expanded;
  if (text.starts_with("unix:")) {
    auto path = plainPath(a, text.substr(5));
    if (!path) return {};
    // sockaddr_un has room for so much.
    if (path->size() > 107) {
      a.fail("the path is longer than a socket's can be, 107");
      return {};
    }
    destination.path = std::move(*path);
    return destination;
  }
  if (!text.starts_with("tcp:")) {
    a.fail("unknown destination " + quoted(text) +
           (text.starts_with('/') ? ", did you mean unix:" + std::string(text) + "?"
                                  : ": it takes @pcscd, unix:/path or tcp:host:port"));
    return {};
  }
  text.remove_prefix(4);
  auto colon = text.rfind(':');
  auto bracket = text.rfind(']');
  if (colon == Text::npos || (bracket != Text::npos && colon < bracket)) {
    a.fail(quoted(text) + " has no port: it takes tcp:host:port");
    return {};
  }
  auto port = parseNumber<std::uint16_t>(text.substr(colon + 1));
  if (!port || *port == 0) {
    a.fail(quoted(text.substr(colon + 1)) + " is not a port from 1 to 65535");
    return {};
  }
  Text host = text.substr(0, colon);
  bool bracketed = host.starts_with('[');
  std::string bare;
  if (bracketed) {
    // [address] or [address]/length
    auto close = host.find(']');
    if (close == Text::npos) {
      a.fail(quoted(host) + " has no closing ]");
      return {};
    }
    bare = host.substr(1, close - 1);
    Text length = host.substr(close + 1);
    if (!length.empty() && length.front() != '/') {
      a.fail(quoted(host) + " has something after its ] that is no prefix length");
      return {};
    }
    bare += length;
  } else {
    bare = host;
  }
  if (!checkHost(a, bare, bracketed)) return {};
  destination.kind = Destination::Kind::Tcp;
  destination.host = std::move(bare);
  destination.port = *port;
  return destination;
}

void assignConnect(const Assignment& a) {
  assignList(a, a.policy().connect, [&](Text text, bool&) { return parseDestination(a, text); });
}

std::vector<Text> grantableNames() {
  std::vector<Text> names;
  for (const std::string& name : nativeSyscallNames())
    if (whyNeverGrantable(name).empty()) names.push_back(name);
  return names;
}

void assignSystemCallFilter(const Assignment& a) {
  Policy& policy = a.policy();
  if (a.value.empty()) {
    policy.systemCallFilter.clear();
    policy.systemCallDefaults = false;
    return;
  }
  auto words = a.words();
  if (!words) return;
  // systemd takes a ~ in front for the whole list, other keys for one word: guess neither.
  if (words->size() > 1 && words->front().text.starts_with('~') &&
      !std::all_of(words->begin(), words->end(),
                   [](const Word& word) { return word.text.starts_with('~'); })) {
    a.fail("~ in front of a list: put it before each word to remove, the others on another line");
    return;
  }
  for (const Word& word : *words) {
    Text name = word.text;
    bool remove = name.starts_with('~');
    if (remove) name.remove_prefix(1);
    if (name.starts_with('@')) {
      if (findSyscallGroup(name) == nullptr) {
        std::vector<Text> names;
        for (const SyscallGroup& group : syscallGroups()) names.push_back(group.name);
        a.fail("unknown group " + quoted(name) + a.suggestion(name, names));
        continue;
      }
      if (remove && name == "@worker") {
        a.fail("no worker can do without @worker; single calls can be removed from it");
        continue;
      }
    } else if (!isSyscallName(name)) {
      static const std::vector<Text> NAMES = grantableNames();
      a.fail("unknown system call " + quoted(name) + a.suggestion(name, NAMES));
      continue;
    } else if (Text why = whyNeverGrantable(name); !remove && !why.empty()) {
      a.fail(quoted(name) + " can't be granted by any policy: it " + std::string(why));
      continue;
    }
    // Said again it counts as said last.
    std::string text = word.text;
    std::erase(policy.systemCallFilter, text);
    policy.systemCallFilter.push_back(std::move(text));
  }
}

void assignViolationAction(const Assignment& a) {
  constexpr Choice<ViolationAction> CHOICES[] = {{"deny", ViolationAction::Deny},
                                                 {"kill", ViolationAction::Kill},
                                                 {"log", ViolationAction::Log}};
  assignChoice(a, a.policy().violationAction, defaults().violationAction, CHOICES);
}

void assignMechanisms(const Assignment& a) {
  assignList(a, a.policy().flatMechanisms, [&](Text text, bool&) -> std::optional<std::uint64_t> {
    bool hex = text.starts_with("0x") || text.starts_with("0X");
    auto number =
        hex ? parseNumber<std::uint64_t>(text.substr(2), 16) : parseNumber<std::uint64_t>(text);
    if (!number) a.fail(quoted(text) + " is not a mechanism's number such as 0x80000001");
    return number;
  });
}

struct Key {
  Text section;
  Text name;
  void (*assign)(const Assignment&);
};

constexpr Key KEYS[] = {
    {"Module", "Match", assignMatch},

    {"Worker", "Environment", assignEnvironment},
    {"Worker", "PassEnvironment", assignPassEnvironment},
    {"Worker", "StartTimeoutSec",
     [](const Assignment& a) { assignTime(a, a.policy().startTimeout, defaults().startTimeout); }},
    {"Worker", "CallTimeoutSec", assignCallTimeout},
    {"Worker", "StopTimeoutSec",
     [](const Assignment& a) { assignTime(a, a.policy().stopTimeout, defaults().stopTimeout); }},
    {"Worker", "StartLimitBurst",
     [](const Assignment& a) {
       assignCount(a, a.policy().startLimitBurst, defaults().startLimitBurst, 1);
     }},
    {"Worker", "StartLimitIntervalSec",
     [](const Assignment& a) {
       assignTime(a, a.policy().startLimitInterval, defaults().startLimitInterval);
     }},
    {"Worker", "WorkingDirectory", assignWorkingDirectory},
    {"Worker", "Serialize",
     [](const Assignment& a) { assignBoolean(a, a.policy().serialize, defaults().serialize); }},
    {"Worker", "Share", assignShare},

    {"Limits", "MemoryMax",
     [](const Assignment& a) {
       assignSize(a, a.policy().memoryMax, defaults().memoryMax, 16 << 20);
     }},
    {"Limits", "TasksMax",
     [](const Assignment& a) {
       assignCount(a, a.policy().tasksMax, defaults().tasksMax, 1, INT_MAX, true);
     }},
    {"Limits", "CPUQuota", assignCpuQuota},
    {"Limits", "LimitNOFILE",
     [](const Assignment& a) {
       assignCount(a, a.policy().limitNoFile, defaults().limitNoFile, 16, INT_MAX, true);
     }},
    {"Limits", "LimitFSIZE",
     [](const Assignment& a) { assignSize(a, a.policy().limitFsize, defaults().limitFsize, 0); }},
    {"Limits", "LimitMEMLOCK",
     [](const Assignment& a) {
       assignSize(a, a.policy().limitMemlock, defaults().limitMemlock, 0);
     }},
    {"Limits", "LimitSTACK",
     [](const Assignment& a) {
       assignSize(a, a.policy().limitStack, defaults().limitStack, 128 << 10);
     }},
    {"Limits", "MaxMessage", assignMaxMessage},

    {"Filesystem", "ReadOnlyPaths",
     [](const Assignment& a) { assignPaths(a, a.policy().readOnlyPaths); }},
    {"Filesystem", "ReadWritePaths",
     [](const Assignment& a) { assignPaths(a, a.policy().readWritePaths); }},
    {"Filesystem", "ExecPaths", [](const Assignment& a) { assignPaths(a, a.policy().execPaths); }},
    {"Filesystem", "Devices",
     [](const Assignment& a) { assignPaths(a, a.policy().devices, "/dev/"); }},

    {"Network", "Network", assignNetwork},
    {"Network", "Connect", assignConnect},

    {"Syscalls", "SystemCallFilter", assignSystemCallFilter},
    {"Syscalls", "SystemCallAction", assignViolationAction},
    {"Syscalls", "ViolationLimit",
     [](const Assignment& a) {
       assignCount(a, a.policy().violationLimit, defaults().violationLimit, 0);
     }},

    {"Layers", "Require",
     [](const Assignment& a) { assignNames(a, a.policy().require, LAYER_NAMES, "layer"); }},
    {"Layers", "Prefer",
     [](const Assignment& a) { assignNames(a, a.policy().prefer, LAYER_NAMES, "layer"); }},

    {"Mechanisms", "FlatMechanisms", assignMechanisms},
};

bool isSection(Text name) {
  return std::any_of(std::begin(KEYS), std::end(KEYS),
                     [&](const Key& key) { return key.section == name; });
}

std::vector<Text> sectionNames() {
  std::vector<Text> names;
  for (const Key& key : KEYS)
    if (names.empty() || names.back() != key.section) names.push_back(key.section);
  return names;
}

std::string unknownKey(const Reading& reading, Text section, Text name) {
  std::vector<Text> here;
  std::vector<Text> anywhere;
  for (const Key& key : KEYS) {
    if (key.name == name)
      return "unknown key in this section, did you mean [" + std::string(key.section) + "] " +
             std::string(name) + "=?";
    (key.section == section ? here : anywhere).push_back(key.name);
  }
  std::string meant = reading.suggestion(name, here, {}, "=");
  if (meant.empty() && !reading.full()) {
    Text other = nearest(name, anywhere);
    for (const Key& key : KEYS)
      if (!other.empty() && key.name == other)
        meant = ", did you mean [" + std::string(key.section) + "] " + std::string(other) + "=?";
  }
  return "unknown key" + meant;
}

void assignKey(Reading& reading, Text section, Text name, Text value) {
  auto before = reading.errors.size();
  const Key* found = nullptr;
  for (const Key& key : KEYS)
    if (key.section == section && key.name == name) found = &key;
  Assignment assignment{reading, section, name, value};
  if (found == nullptr) {
    assignment.fail(unknownKey(reading, section, name));
  } else {
    found->assign(assignment);
    auto& origin = reading.policy.origin[std::string(section) + "." + std::string(name)];
    if (value.empty()) origin.clear();
    origin.push_back(reading.file + ":" + std::to_string(reading.line));
  }
  if (section == "Module" && (reading.errors.size() != before || reading.full()))
    reading.matchUncertain = true;
}

// ---- Lines -------------------------------------------------------------------------------------

// Hands inih one line at a time, in a shape in which its builds agree: without the blanks in front
// that some take for a continuation, without comments, without a line that they would split, cut
// off or read as name:value. Counts the lines meanwhile, which inih doesn't tell.
class LineSource {
 public:
  LineSource(Text text, Reading& reading) : rest_(text), reading_(reading) {
    // Windows editors put it there.
    if (rest_.starts_with("\xEF\xBB\xBF")) rest_.remove_prefix(3);
  }

  // Stands for ; in what inih sees: some builds would begin a comment within a value there. No
  // control character of the file's own gets that far.
  static constexpr char SEMICOLON = '\x01';

  Reading& reading() { return reading_; }

  // As fgets: at most `size` bytes with the zero.
  char* next(char* buffer, int size) {
    if (rest_.empty() || size < 3) return nullptr;
    auto end = rest_.find('\n');
    Text line = rest_.substr(0, end);
    rest_.remove_prefix(end == Text::npos ? rest_.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++reading_.line;
    std::string shaped = shape(line, static_cast<std::size_t>(size) - 2);
    std::replace(shaped.begin(), shaped.end(), ';', SEMICOLON);
    shaped += '\n';
    std::copy(shaped.begin(), shaped.end(), buffer);
    buffer[shaped.size()] = '\0';
    return buffer;
  }

 private:
  // The line for inih, empty when there is nothing in it for inih.
  std::string shape(Text line, std::size_t room) {
    if (std::any_of(line.begin(), line.end(), [](char c) {
          return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == '\x7f';
        })) {
      malformed(line.find('\0') != Text::npos ? "a NUL byte in the line"
                                              : "a control character in the line");
      return {};
    }
    line = trimmed(line);
    if (line.empty() || line.front() == '#' || line.front() == ';') return {};
    if (line.size() > room) {
      malformed("the line is longer than " + std::to_string(room) +
                " characters; what is a list can be assigned in parts, which append");
      return {};
    }
    if (line.front() == '[') return section(line);
    auto equals = line.find('=');
    Text name = trimmed(line.substr(0, equals));
    if (equals == Text::npos || !isIdentifier(name)) {
      malformed("neither [Section] nor Key=value nor a comment: " + quoted(line));
      return {};
    }
    if (ignore_ || isIgnored(name)) return {};
    if (section_.empty()) {
      malformed(std::string(name) + "= before any [Section]");
      return {};
    }
    return std::string(line);
  }

  std::string section(Text line) {
    // Until the next section there is no telling what keys mean.
    ignore_ = true;
    auto close = line.find(']');
    Text name = line.substr(1, close == Text::npos ? close : close - 1);
    if (close != line.size() - 1 || !isIdentifier(name)) {
      malformed("a section's name is one word in brackets, and alone on its line");
      return {};
    }
    if (isIgnored(name)) return {};
    if (!isSection(name)) {
      reading_.matchUncertain = true;
      reading_.fail("[" + std::string(name) + "]",
                    "unknown section" + reading_.suggestion(name, sectionNames(), "[", "]"));
      return {};
    }
    ignore_ = false;
    section_ = name;
    return std::string(line);
  }

  void malformed(const std::string& what) {
    reading_.matchUncertain = true;
    reading_.fail({}, what);
  }

  Text rest_;
  Reading& reading_;
  std::string section_;
  bool ignore_ = false;
};

// The source behind inih, and whether memory ran out in one of its calls of us: no exception may
// pass through its frames.
struct Parse {
  LineSource source;
  bool failed = false;
};

char* readLine(char* buffer, int size, void* stream) noexcept {
  auto* parse = static_cast<Parse*>(stream);
  try {
    return parse->failed ? nullptr : parse->source.next(buffer, size);
  } catch (...) {
    parse->failed = true;
    return nullptr;
  }
}

int handle(void* user, const char* section, const char* name, const char* value
#if INI_HANDLER_LINENO
           ,
           int
#endif
           ) noexcept {
  auto* parse = static_cast<Parse*>(user);
  if (name == nullptr) return 1;  // some builds report sections themselves
  try {
    std::string text = value == nullptr ? "" : value;
    std::replace(text.begin(), text.end(), LineSource::SEMICOLON, ';');
    assignKey(parse->source.reading(), section, name, trimmed(text));
  } catch (...) {
    parse->failed = true;
  }
  return 1;
}

// ---- What the words mean together --------------------------------------------------------------

void settleSyscalls(Policy& policy) {
  std::set<std::string, std::less<>> groups = {"@worker"};
  if (policy.systemCallDefaults) {
    groups.insert({"@thread", "@fs-read"});
    if (!policy.readWritePaths.empty()) groups.insert("@fs-write");
    if (policy.network == NetworkAccess::Unix) groups.insert("@unix-client");
    if (policy.network == NetworkAccess::Client) groups.insert("@net-client");
  }
  std::set<std::string, std::less<>> names;
  std::set<std::string, std::less<>> removed;
  for (Text word : policy.systemCallFilter) {
    bool remove = word.starts_with('~');
    if (remove) word.remove_prefix(1);
    if (const SyscallGroup* group = findSyscallGroup(word)) {
      // What another group grants as well stays: a group is an intent, not a set of numbers.
      if (remove) {
        groups.erase(std::string(word));
      } else {
        groups.insert(std::string(word));
        for (Text name : syscallsOf(*group)) removed.erase(std::string(name));
      }
    } else if (remove) {
      names.erase(std::string(word));
      removed.insert(std::string(word));
    } else {
      names.insert(std::string(word));
      removed.erase(std::string(word));
    }
  }
  policy.syscalls.clear();
  policy.syscalls.insert(names.begin(), names.end());
  for (const std::string& name : groups)
    if (const SyscallGroup* group = findSyscallGroup(name))
      for (Text call : syscallsOf(*group)) policy.syscalls.emplace(call);
  for (const std::string& name : removed) policy.syscalls.erase(name);
}

// What a policy begins with, before what its words mean together.
Policy unsettledPolicy() {
  Policy policy;
  policy.name = "built-in";
  // Locale, time zone, and the home that libraries look for theirs in; nothing secret.
  policy.passEnvironment = {"LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TZ", "HOME"};
  // People type PINs, tokens take minutes for a key, and an event comes when it comes.
  for (const char* function : {"C_Login", "C_LoginUser", "C_InitToken", "C_InitPIN", "C_SetPIN",
                               "C_GenerateKey", "C_GenerateKeyPair"})
    policy.callTimeouts[function] = milliseconds{300'000};
  policy.callTimeouts["C_WaitForSlotEvent"] = milliseconds{0};
  policy.require = {"no-new-privs", "seccomp"};
  for (Text layer : LAYER_NAMES)
    if (std::find(policy.require.begin(), policy.require.end(), layer) == policy.require.end())
      policy.prefer.emplace_back(layer);
  return policy;
}

struct Outcome {
  std::vector<Error> errors;
  bool matchUncertain = false;
};

Outcome failure(Error error) {
  return {{std::move(error)}, true};
}

Outcome outOfMemory(const std::string& file) {
  return failure(Error{"policy", ENOMEM, file});
}

Outcome parseText(Text text, const std::string& name, const Specifiers& specifiers,
                  Policy& policy) {
  Reading reading{name, specifiers, policy};
  Parse parse{LineSource(text, reading)};
  int result = ::ini_parse_stream(readLine, &parse, handle, &parse);
  if (parse.failed || result == -2) return outOfMemory(name);
  // Not to be reached while the lines are well shaped; refused rather than trusted.
  if (result != 0 && reading.errors.empty()) {
    reading.line = static_cast<unsigned>(std::max(result, 0));
    reading.matchUncertain = true;
    reading.fail({}, "the line can't be parsed");
  }
  return {std::move(reading.errors), reading.matchUncertain};
}

// ---- Files -------------------------------------------------------------------------------------

Error refused(const std::string& path, const std::string& why) {
  return Error{"policy", 0, path + ": refused: " + why};
}

// The number that root's files show here. In a container that maps no root, bubblewrap's say, it is
// the one of all users from outside; there the file's mode, and who could bring it in, has to do.
uid_t rootHere() {
  static const uid_t ROOT = [] {
    std::ifstream map("/proc/self/uid_map");
    unsigned long first, outside, count;
    bool any = false;
    while (map >> first >> outside >> count) {
      if (first == 0) return uid_t{0};
      any = true;
    }
    uid_t overflow = 0;
    if (any) std::ifstream("/proc/sys/kernel/overflowuid") >> overflow;
    return overflow;
  }();
  return ROOT;
}

// Why what somebody else may have written isn't taken for a policy; empty when it is.
std::string whyUntrusted(const struct stat& status) {
  if (status.st_uid != 0 && status.st_uid != rootHere() && status.st_uid != ::geteuid())
    return "it belongs to user " + std::to_string(status.st_uid) +
           ", neither to root nor to the present user";
  // In a sticky directory nobody else can remove or rename what is ours.
  if (S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX) != 0) return {};
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return "others than its owner can write it; chmod go-w makes it acceptable";
  return {};
}

std::string parentOf(const std::string& path) {
  auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string lastPart(const std::string& path) {
  auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

// Opens a directory and sees that it can be trusted. An empty descriptor: there is none.
Result<Descriptor> openDirectory(const std::string& path) {
  Descriptor directory =
      aboveStandard(Descriptor(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  if (!directory) {
    if (errno == ENOENT) return Descriptor();
    return systemError("policy", path + ": can't be opened");
  }
  struct stat status;
  if (::fstat(directory.get(), &status) != 0) return systemError("policy", path);
  if (std::string why = whyUntrusted(status); !why.empty()) return refused(path, why);
  return directory;
}

Result<std::string> readAll(const Descriptor& file, const std::string& path) {
  std::string text;
  char buffer[4096];
  while (true) {
    ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return systemError("policy", path + ": can't be read");
    if (count == 0) return text;
    text.append(buffer, static_cast<std::size_t>(count));
    if (text.size() > MAX_FILE)
      return refused(path, "it is larger than " + std::to_string(MAX_FILE) + " bytes");
  }
}

// The text of a file that nobody but root and the present user can have written.
Result<std::string> readTrusted(const std::string& path) {
  std::string target = path;
  // The second time round the path is free of symbolic links.
  for (bool followed = false;; followed = true) {
    // The directory may be searchable only, so it is not opened for reading.
    Descriptor directory = aboveStandard(
        Descriptor(::open(parentOf(target).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)));
    if (!directory) return systemError("policy", path + ": its directory can't be opened");
    struct stat status;
    if (::fstat(directory.get(), &status) != 0) return systemError("policy", path);
    if (std::string why = whyUntrusted(status); !why.empty())
      return refused(path, "its directory " + parentOf(target) + ": " + why);

    Descriptor file = aboveStandard(
        Descriptor(::openat(directory.get(), lastPart(target).c_str(),
                            O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)));
    if (!file && errno == ELOOP && !followed) {
      std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                       std::free);
      if (!real) return systemError("policy", path + ": its symbolic link leads nowhere");
      target = real.get();
      if (target == "/dev/null") return std::string();
      continue;
    }
    if (!file) return systemError("policy", path + ": can't be opened");
    if (::fstat(file.get(), &status) != 0) return systemError("policy", path);
    if (!S_ISREG(status.st_mode)) return refused(path, "it is not a regular file");
    if (std::string why = whyUntrusted(status); !why.empty()) return refused(path, why);
    return readAll(file, path);
  }
}

Outcome parseFile(const std::string& path, const Specifiers& specifiers, Policy& policy) {
  auto text = readTrusted(path);
  if (!text) return failure(text.error());
  return parseText(*text, path, specifiers, policy);
}

struct CloseStream {
  void operator()(DIR* stream) const { ::closedir(stream); }
};

// Names in a directory that end in `ending`, in their order. A directory that isn't there is empty.
Result<std::set<std::string>> namesIn(const std::string& path, Text ending) {
  auto directory = openDirectory(path);
  if (!directory) return directory.error();
  std::set<std::string> names;
  if (!*directory) return names;
  std::unique_ptr<DIR, CloseStream> stream(::fdopendir(directory->get()));
  if (!stream) return systemError("policy", path + ": can't be read");
  (void)directory->release();  // the stream's now
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr && errno != 0) return systemError("policy", path + ": can't be read");
    if (entry == nullptr) return names;
    Text name = entry->d_name;
    if (name.size() > ending.size() && name.ends_with(ending) && name.front() != '.')
      names.emplace(name);
  }
}

// ---- The choice --------------------------------------------------------------------------------

constexpr Text ENDING = ".policy";

class Search {
 public:
  Search(const ModuleIdentity& module, const std::vector<std::string>& directories,
         const Specifiers& specifiers)
      : module_(module), directories_(directories), specifiers_(specifiers) {}

  Result<Policy> run() {
    Text name = module_.name;
    if (name.empty() || name.front() == '.' || name.find('/') != Text::npos)
      return Error{"policy", 0, quoted(name) + " is no name of a module"};
    // Whoever can write a directory can say what its policies are.
    for (const std::string& directory : directories_)
      if (auto opened = openDirectory(directory); !opened) return opened.error();

    auto file = find(module_.name);
    if (!file) return file.error();
    if (!file->empty()) return finished(read(module_.name, *file));

    auto matched = findMatch();
    if (!matched) return matched.error();
    if (*matched) return finished(std::move(**matched));

    file = find("default");
    if (!file) return file.error();
    return finished(read("default", *file));
  }

 private:
  struct Candidate {
    Policy policy;
    Outcome outcome;
  };

  // NAME.policy in the first directory that has it, empty where none has.
  Result<std::string> find(const std::string& name) const {
    for (const std::string& directory : directories_) {
      std::string path = directory + "/" + name + std::string(ENDING);
      struct stat status;
      if (::lstat(path.c_str(), &status) == 0) return path;
      if (errno != ENOENT) return systemError("policy", path);
    }
    return std::string();
  }

  // A main file, which may be none, and its drop-ins.
  Candidate read(const std::string& name, const std::string& path) const {
    Candidate candidate{unsettledPolicy(), {}};
    candidate.policy.name = path.empty() ? "built-in" : name;
    if (!path.empty()) over(candidate, parseFile(path, specifiers_, candidate.policy));
    dropIns(name, candidate);
    if (name != module_.name) dropIns(module_.name, candidate);
    return candidate;
  }

  void dropIns(const std::string& name, Candidate& candidate) const {
    std::map<std::string, std::string> paths;
    for (const std::string& directory : directories_) {
      std::string path = directory + "/" + name + std::string(ENDING) + ".d";
      auto names = namesIn(path, ".conf");
      if (!names) {
        over(candidate, failure(names.error()));
        return;
      }
      for (const std::string& file : *names) paths.emplace(file, path + "/" + file);
    }
    for (const auto& [file, path] : paths)
      over(candidate, parseFile(path, specifiers_, candidate.policy));
  }

  static void over(Candidate& candidate, Outcome outcome) {
    auto& errors = candidate.outcome.errors;
    for (Error& error : outcome.errors) errors.push_back(std::move(error));
    candidate.outcome.matchUncertain |= outcome.matchUncertain;
  }

  bool fits(const Policy& policy) const {
    std::string file = lastPart(module_.path);
    return std::any_of(policy.match.begin(), policy.match.end(), [&](const std::string& pattern) {
      return ::fnmatch(pattern.c_str(), file.c_str(), 0) == 0;
    });
  }

  Result<std::optional<Candidate>> findMatch() const {
    std::set<std::string> seen;
    for (const std::string& directory : directories_) {
      auto files = namesIn(directory, ENDING);
      if (!files) return files.error();
      for (const std::string& file : *files) {
        if (!seen.insert(file).second) continue;
        Candidate candidate =
            read(file.substr(0, file.size() - ENDING.size()), directory + "/" + file);
        if (fits(candidate.policy)) return std::optional(std::move(candidate));
        if (!candidate.outcome.matchUncertain) continue;
        Error error = summary(candidate.outcome.errors);
        error.detail += " (it may have been meant for module " + module_.name + ")";
        return error;
      }
    }
    return std::optional<Candidate>();
  }

  static Error summary(const std::vector<Error>& errors) {
    Error error = errors.front();
    if (errors.size() > 1) error.detail += " (and " + std::to_string(errors.size() - 1) + " more)";
    return error;
  }

  Result<Policy> finished(Candidate candidate) const {
    if (!candidate.outcome.errors.empty()) return summary(candidate.outcome.errors);
    Policy& policy = candidate.policy;
    // Only now is it known what all files together say.
    settleSyscalls(policy);
    for (const Destination& destination : policy.connect) {
      bool tcp = destination.kind == Destination::Kind::Tcp;
      if (tcp ? policy.network == NetworkAccess::Client : policy.network != NetworkAccess::None)
        continue;
      const auto& origin = policy.origin["Network.Connect"];
      return Error{
          "policy", 0,
          (origin.empty() ? policy.name : origin.back()) + ": [Network] Connect=: " +
              (tcp ? "tcp: needs Network=client" : "a socket needs Network=unix or client")};
    }
    if (policy.network == NetworkAccess::Client) {
      // The worker's sockets belong to its own namespace, whoever connects them.
      if (std::erase(policy.prefer, "netns"); contains(policy.require, "netns"))
        return Error{"policy", 0,
                     policy.name + ": [Layers] Require=netns leaves no network for Network=client"};
      // Without these, names silently do not resolve.
      for (Text path : {"/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/nsswitch.conf",
                        "/etc/gai.conf", "/etc/services", "/run/systemd/resolve",
                        "/run/NetworkManager/resolv.conf", "/run/resolvconf"})
        add(policy.readOnlyPaths, path, true);
    }
    return std::move(policy);
  }

  static bool contains(const std::vector<std::string>& list, Text word) {
    return std::find(list.begin(), list.end(), word) != list.end();
  }

  static void add(std::vector<PolicyPath>& list, Text path, bool optional) {
    if (std::none_of(list.begin(), list.end(),
                     [&](const PolicyPath& one) { return one.path == path; }))
      list.push_back({std::string(path), optional});
  }

  const ModuleIdentity& module_;
  const std::vector<std::string>& directories_;
  const Specifiers& specifiers_;
};

}  // namespace

Specifiers currentSpecifiers() {
  Specifiers specifiers;
  uid_t user = ::geteuid();
  specifiers.userId = std::to_string(user);
  // Not from the environment: a policy's paths are no matter of whoever starts the host.
  specifiers.runtimeDirectory = user == 0 ? "/run" : "/run/user/" + specifiers.userId;
  std::vector<char> buffer(1024);
  passwd entry;
  passwd* found = nullptr;
  int error = 0;
  while ((error = ::getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found)) == ERANGE &&
         buffer.size() < (1U << 20))
    buffer.resize(buffer.size() * 2);
  if (error == 0 && found != nullptr) {
    specifiers.home = found->pw_dir;
    specifiers.userName = found->pw_name;
  }
  return specifiers;
}

std::vector<std::string> policyKeys() {
  std::vector<std::string> keys;
  for (const Key& key : KEYS)
    keys.push_back(std::string(key.section) + "." + std::string(key.name));
  return keys;
}

Policy builtInPolicy() {
  Policy policy = unsettledPolicy();
  settleSyscalls(policy);
  return policy;
}

std::vector<std::string> policyDirectories() {
  std::vector<std::string> directories;
  const char* variable = ::secure_getenv("BULKHEAD_POLICIES");
  if (variable != nullptr && *variable != '\0') {
    Text rest = variable;
    while (!rest.empty()) {
      auto end = std::min(rest.find(':'), rest.size());
      if (end > 0) directories.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return directories;
  }
  directories.emplace_back(BULKHEAD_POLICY_ETC);
  directories.emplace_back(BULKHEAD_POLICY_DIR);
  return directories;
}

std::vector<Error> readPolicyText(std::string_view text, const std::string& name,
                                  const Specifiers& specifiers, Policy& policy) try {
  auto errors = parseText(text, name, specifiers, policy).errors;
  settleSyscalls(policy);
  return errors;
} catch (...) {
  return {Error{"policy", ENOMEM, {}}};
}

std::vector<Error> readPolicyFile(const std::string& path, const Specifiers& specifiers,
                                  Policy& policy) try {
  auto errors = parseFile(path, specifiers, policy).errors;
  settleSyscalls(policy);
  return errors;
} catch (...) {
  return {Error{"policy", ENOMEM, {}}};
}

Result<Policy> loadPolicy(const ModuleIdentity& module, const std::vector<std::string>& directories,
                          const Specifiers& specifiers) try {
  return Search(module, directories, specifiers).run();
} catch (...) {
  return Error{"policy", ENOMEM, {}};
}

}  // namespace bulkhead::sandbox
