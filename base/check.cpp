#include "base/check.h"

#include <cstdio>
#include <cstdlib>

#include <execinfo.h>
#include <unistd.h>

namespace rchk {

namespace {
thread_local CheckContext* innermost = nullptr;
}  // namespace

CheckContext::CheckContext(Describe describe, const void* subject)
    : describe_(describe), subject_(subject), outer_(innermost) {
  innermost = this;
}

CheckContext::~CheckContext() { innermost = outer_; }

void check_failed(const char* file, int line, const char* expression, std::string_view detail) {
  fmt::print(stderr, "rchk: internal error at {}:{}: {} does not hold\n", file, line, expression);
  if (!detail.empty()) fmt::print(stderr, "rchk: {}\n", detail);
  for (const CheckContext* context = innermost; context != nullptr; context = context->outer_) {
    fmt::print(stderr, "rchk: {}\n", context->describe_(context->subject_));
  }
  void* frames[64];
  const int count = backtrace(frames, 64);
  std::fflush(stderr);
  backtrace_symbols_fd(frames, count, STDERR_FILENO);
  std::abort();
}

}  // namespace rchk
