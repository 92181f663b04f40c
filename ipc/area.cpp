// SPDX-License-Identifier: BSD-2-Clause
#include "ipc/area.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <utility>

namespace bulkhead::ipc {
namespace {

constexpr std::size_t ALIGNMENT = 64;
std::atomic<std::size_t> all{0};

Result<std::byte*> mapped(int memory, std::size_t size) {
  void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (p == MAP_FAILED) return systemError("mmap area");
  // Advice: a kernel that refuses it leaves the memory as usable as before.
  (void)::madvise(p, size, MADV_DONTDUMP);
  (void)::madvise(p, size, MADV_DONTFORK);
  return static_cast<std::byte*>(p);
}

}  // namespace

Area::Area(std::byte* data, std::size_t size, Descriptor memory)
    : data_(data), size_(size), memory_(std::move(memory)) {
  all.fetch_add(size, std::memory_order_relaxed);
}

std::size_t Area::total() {
  return all.load(std::memory_order_relaxed);
}

void Area::forgetInherited() {
  all.store(0, std::memory_order_relaxed);
}

Result<Area> Area::make(std::size_t size) {
  size = std::bit_ceil(std::max<std::size_t>(size, std::size_t{1} << 20));
  // A file beyond the host's limit would be a signal to the host.
  rlimit largest;
  if (::getrlimit(RLIMIT_FSIZE, &largest) != 0) return systemError("getrlimit");
  if (largest.rlim_cur < size) return Error{"area", EFBIG, {}};
  Descriptor memory =
      aboveStandard(Descriptor(::memfd_create("bulkhead", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  if (!memory) return systemError("memfd_create");
  // All pages now: with a page that is not there, running out of memory would be a signal.
  if (::fallocate(memory.get(), 0, 0, static_cast<off_t>(size)) != 0)
    return systemError("fallocate area");
  // The worker gets the descriptor, and must not take away what the host has mapped.
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return systemError("seal area");
  auto data = mapped(memory.get(), size);
  if (!data) return data.error();
  return Area(*data, size, std::move(memory));
}

Result<Area> Area::map(Descriptor memory) {
  struct stat status;
  if (::fstat(memory.get(), &status) != 0) return systemError("fstat area");
  if (status.st_size <= 0 || static_cast<std::size_t>(status.st_size) > 2 * AREA_MAX)
    return Error{"area", EINVAL, {}};
  auto size = static_cast<std::size_t>(status.st_size);
  auto data = mapped(memory.get(), size);
  if (!data) return data.error();
  return Area(*data, size, Descriptor());
}

Area::Area(Area&& other) noexcept {
  *this = std::move(other);
}

Area& Area::operator=(Area&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(used_, other.used_);
  std::swap(memory_, other.memory_);
  return *this;
}

Area::~Area() {
  if (data_ == nullptr) return;
  clear();
  ::munmap(data_, size_);
  all.fetch_sub(size_, std::memory_order_relaxed);
}

void Area::clear() {
  if (used_ != 0) ::explicit_bzero(data_, used_);
  used_ = 0;
}

bool Area::place(std::size_t size, std::uint64_t& offset) {
  std::size_t from = (used_ + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (from > size_ || size > size_ - from) return false;
  offset = from;
  used_ = from + size;
  return true;
}

std::span<std::byte> Area::at(std::uint64_t offset, std::uint64_t size) const {
  if (offset > size_ || size > size_ - offset) return {};
  return {data_ + offset, static_cast<std::size_t>(size)};
}

}  // namespace bulkhead::ipc
