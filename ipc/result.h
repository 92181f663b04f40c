// SPDX-License-Identifier: BSD-2-Clause
//
// How an operation that can fail reports it: a value, or the operation, its cause and its detail.
// Nothing here throws, and no errno travels without the name of the call that set it.
#pragma once

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace bulkhead {

/// Why an operation failed. `operation` names what was tried ("open /etc/bulkhead"), `code` is the
/// errno value behind it or 0 where there is none, `detail` says more where more is known.
struct Error {
  std::string operation;
  int code = 0;
  std::string detail;

  /// The error as one line of text without a line break at its end.
  std::string message() const {
    std::string text = operation;
    if (!detail.empty()) text += ": " + detail;
    if (code != 0) {
      char buffer[128];
      // The GNU strerror_r may ignore the buffer; it is safe to call from any thread.
      text += std::string(": ") + strerror_r(code, buffer, sizeof buffer);
    }
    return text;
  }
};

/// An Error from the present errno. Call it before anything else can change errno.
inline Error systemError(std::string operation, std::string detail = {}) {
  int code = errno;
  return Error{std::move(operation), code, std::move(detail)};
}

/// A value of type T or the Error that prevented it. Plain value, not thread-safe by itself.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  /// The value. Only when ok().
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  /// The error. Only when not ok().
  const Error& error() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

/// The same for an operation that yields nothing.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace bulkhead
