// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/libraries.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "ipc/descriptor.h"

namespace bulkhead::sandbox {
namespace {

constexpr std::size_t MAX_LIBRARIES = 256;
constexpr std::size_t MAX_STRINGS = 1 << 20;

// What the dynamic section of one object asks for.
struct Needs {
  std::vector<std::string> libraries;
  std::vector<std::string> folders;
};

class Object {
 public:
  explicit Object(const std::string& path) : file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}

  std::optional<Needs> needs(const std::string& origin) const {
    ElfW(Ehdr) head;
    if (!at(0, &head, sizeof head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
        head.e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32) ||
        head.e_phentsize != sizeof(ElfW(Phdr)))
      return std::nullopt;
    std::vector<ElfW(Phdr)> segments(std::min<std::size_t>(head.e_phnum, 256));
    if (!at(head.e_phoff, segments.data(), segments.size() * sizeof(ElfW(Phdr))))
      return std::nullopt;
    auto dynamic = std::find_if(segments.begin(), segments.end(),
                                [](const ElfW(Phdr) & s) { return s.p_type == PT_DYNAMIC; });
    if (dynamic == segments.end()) return std::nullopt;
    std::vector<ElfW(Dyn)> entries(
        std::min<std::size_t>(dynamic->p_filesz / sizeof(ElfW(Dyn)), 4096));
    if (!at(dynamic->p_offset, entries.data(), entries.size() * sizeof(ElfW(Dyn))))
      return std::nullopt;

    std::uint64_t table = 0, size = 0;
    for (auto& e : entries) {
      if (e.d_tag == DT_STRTAB) table = e.d_un.d_ptr;
      if (e.d_tag == DT_STRSZ) size = e.d_un.d_val;
    }
    auto holder = std::find_if(segments.begin(), segments.end(), [&](const ElfW(Phdr) & s) {
      return s.p_type == PT_LOAD && table >= s.p_vaddr && table - s.p_vaddr < s.p_filesz;
    });
    if (holder == segments.end() || size == 0 || size > MAX_STRINGS) return std::nullopt;
    std::string strings(size, '\0');
    if (!at(table - holder->p_vaddr + holder->p_offset, strings.data(), size)) return std::nullopt;

    Needs needs;
    for (auto& e : entries) {
      if (e.d_un.d_val >= size) continue;
      std::string text(strings.c_str() + e.d_un.d_val);
      if (e.d_tag == DT_NEEDED) needs.libraries.push_back(text);
      if (e.d_tag != DT_RPATH && e.d_tag != DT_RUNPATH) continue;
      for (std::size_t from = 0; from <= text.size();) {
        std::size_t to = std::min(text.find(':', from), text.size());
        std::string folder = text.substr(from, to - from);
        for (const char* token : {"$ORIGIN", "${ORIGIN}"})
          if (auto pos = folder.find(token); pos != std::string::npos)
            folder.replace(pos, std::strlen(token), origin);
        if (!folder.empty() && folder[0] == '/') needs.folders.push_back(folder);
        from = to + 1;
      }
    }
    return needs;
  }

 private:
  bool at(std::uint64_t offset, void* to, std::size_t size) const {
    return ::pread(file_.get(), to, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
  }
  Descriptor file_;
};

std::string resolved(const std::string& path) {
  std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), &::free);
  return real ? real.get() : std::string();
}

}  // namespace

std::vector<std::string> librariesOf(const std::string& module) {
  std::vector<std::string> found;
  std::vector<std::string> open = {module};
  std::vector<std::string> inherited;
  while (!open.empty() && found.size() < MAX_LIBRARIES) {
    std::string path = std::move(open.back());
    open.pop_back();
    std::string real = resolved(path);
    auto slash = real.rfind('/');
    if (slash == std::string::npos) continue;
    auto needs = Object(real).needs(real.substr(0, slash));
    if (!needs) continue;
    // DT_RPATH of an object also serves the libraries of its libraries.
    inherited.insert(inherited.end(), needs->folders.begin(), needs->folders.end());
    for (const std::string& library : needs->libraries) {
      std::vector<std::string> candidates;
      if (library.find('/') != std::string::npos) {
        candidates.push_back(library);
      } else {
        for (const std::string& folder : inherited) candidates.push_back(folder + "/" + library);
      }
      for (const std::string& candidate : candidates) {
        struct stat status;
        if (::stat(candidate.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
        if (std::find(found.begin(), found.end(), candidate) == found.end()) {
          found.push_back(candidate);
          open.push_back(candidate);
        }
        break;
      }
    }
  }
  return found;
}

}  // namespace bulkhead::sandbox
