// SPDX-License-Identifier: BSD-2-Clause
#include "worker/journal.h"

#include <endian.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "ipc/attachment.h"
#include "ipc/descriptor.h"

namespace bulkhead::worker {
namespace {

void append(std::string& record, const std::string& name, const std::string& value) {
  if (value.find('\n') == std::string::npos) {
    record += name + "=" + value + "\n";
    return;
  }
  std::uint64_t size = htole64(value.size());
  record += name + "\n";
  record.append(reinterpret_cast<const char*>(&size), sizeof size);
  record += value + "\n";
}

}  // namespace

bool sendToJournal(LogLevel level, const std::string& message, const JournalFields& fields) {
  std::string record;
  append(record, "MESSAGE", message);
  append(record, "PRIORITY", std::to_string(static_cast<int>(level)));
  append(record, "SYSLOG_IDENTIFIER", "bulkhead");
  for (auto& [name, value] : fields) append(record, name, value);

  Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return false;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "/run/systemd/journal/socket");
  iovec part{record.data(), record.size()};
  msghdr m{};
  m.msg_name = &address;
  m.msg_namelen = sizeof address;
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  if (::sendmsg(socket.get(), &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return true;
  if (errno != EMSGSIZE && errno != ENOBUFS) return false;

  // Too large for a datagram: a sealed file goes in its place.
  Descriptor file(::memfd_create("journal", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file ||
      ::write(file.get(), record.data(), record.size()) != static_cast<ssize_t>(record.size()))
    return false;
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
    return false;
  m.msg_iov = nullptr;
  m.msg_iovlen = 0;
  ipc::Attachment attachment;
  const int sealed = file.get();
  attachment.add(m, std::span(&sealed, 1));
  return ::sendmsg(socket.get(), &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

}  // namespace bulkhead::worker
