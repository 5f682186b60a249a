#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

namespace rchk {

// Prints the broken invariant with its place, a backtrace, and whatever context was pushed by
// the engine (position, registers, last events), then aborts. Never returns.
[[noreturn]] void check_failed(const char* file, int line, const char* expression,
                               std::string_view detail);

// Gives check_failed more to print while it is in scope; contexts nest.
class CheckContext {
 public:
  using Describe = std::string (*)(const void* subject);
  CheckContext(Describe describe, const void* subject);
  ~CheckContext();
  CheckContext(const CheckContext&) = delete;
  CheckContext& operator=(const CheckContext&) = delete;

 private:
  friend void check_failed(const char*, int, const char*, std::string_view);
  Describe describe_;
  const void* subject_;
  CheckContext* outer_;
};

}  // namespace rchk

// An invariant that is checked in every build. The optional rest is a fmt format and arguments.
#define RCHK_CHECK(condition, ...)                                                         \
  do {                                                                                     \
    if (__builtin_expect(!(condition), 0)) {                                               \
      ::rchk::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
    }                                                                                      \
  } while (false)
