#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <tl/expected.hpp>

namespace rchk {

// What went wrong, as a caller must tell cases apart. Exit statuses are chosen from it in cli/.
enum class ErrorKind {
  kSystem,       // a system call failed; `errno_value` says how
  kMisuse,       // the user asked for something that makes no sense
  kBadTrace,     // a recording that is damaged, torn or of a foreign version
  kDivergence,   // a replay that disagrees with its log
  kUnsupported,  // the guest or the debugger asked for what rchk cannot do
  kMachine,      // this machine lacks something rchk needs
  kGone,         // the process ended while it was being worked on: an ordinary outcome
};

// A failure for outside reasons: kind, errno where there is one, and the context a user needs.
struct Error {
  ErrorKind kind = ErrorKind::kSystem;
  int errno_value = 0;
  std::string context;

  // The text shown to people: the context, and the errno's meaning when there is one.
  std::string message() const {
    if (errno_value == 0) return context;
    return fmt::format("{}: {}", context, std::generic_category().message(errno_value));
  }
};

template <typename T>
using Result = tl::expected<T, Error>;

using Failure = tl::unexpected<Error>;

[[nodiscard]] inline Failure fail(ErrorKind kind, std::string context) {
  return Failure(Error{kind, 0, std::move(context)});
}

// A failed system call: `context` says what was being done; errno is taken now.
[[nodiscard]] inline Failure fail_errno(std::string context, int errno_value = errno) {
  const ErrorKind kind = errno_value == ESRCH ? ErrorKind::kGone : ErrorKind::kSystem;
  return Failure(Error{kind, errno_value, std::move(context)});
}

// Passes an error on with what was being attempted in front of it.
[[nodiscard]] inline Failure fail_with(Error error, std::string_view attempted) {
  error.context = fmt::format("{}: {}", attempted, error.context);
  return Failure(std::move(error));
}

}  // namespace rchk

#define RCHK_CONCAT_INNER(a, b) a##b
#define RCHK_CONCAT(a, b) RCHK_CONCAT_INNER(a, b)

// Returns the error of a Result<...> to the caller, and goes on when there is none.
#define RCHK_TRY(expression)                                                   \
  do {                                                                         \
    auto rchk_try_result = (expression);                                       \
    if (!rchk_try_result) return tl::make_unexpected(rchk_try_result.error()); \
  } while (false)

// `RCHK_TRY_ASSIGN(auto x, f());` binds x to the value, or returns the error to the caller.
#define RCHK_TRY_ASSIGN(target, expression) \
  RCHK_TRY_ASSIGN_INNER(RCHK_CONCAT(rchk_result_, __LINE__), target, expression)
#define RCHK_TRY_ASSIGN_INNER(temporary, target, expression)     \
  auto temporary = (expression);                                 \
  if (!temporary) return tl::make_unexpected(temporary.error()); \
  target = std::move(*temporary)
