#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <linux/filter.h>
#include <linux/seccomp.h>

namespace rchk::syscalls {

// seccomp(2) as the recorder carries it out for a guest (docs/notes/seccomp.md): the kernel's own
// filters answer calls before a tracer hears of them.

// What becomes of a call.
struct Verdict {
  uint32_t action = SECCOMP_RET_ALLOW;  // SECCOMP_RET_*, without data
  uint16_t data = 0;
};

// The errno with which the kernel refuses a filter program, or 0 (kernel/seccomp.c,
// seccomp_check_filter; net/core/filter.c, bpf_check_classic).
int check_filter(const std::vector<sock_filter>& program);
// What a program returns. REQUIRES: check_filter() found nothing.
uint32_t run_filter(const std::vector<sock_filter>& program, const seccomp_data& data);

// What a thread may do: filters, from the newest back, or the strict mode. Copied by clone and
// fork.
class Sandbox {
 public:
  enum class Mode : uint8_t { kNone = 0, kStrict = 1, kFilter = 2 };  // as PR_GET_SECCOMP

  Mode mode() const;
  // False if the mode cannot be left, or there are filters.
  bool set_strict();
  // The errno with which the kernel refuses it, or 0.
  int add(std::vector<sock_filter> program);
  Verdict judge(const seccomp_data& data) const;
  // Whether `other` has all filters of this one, or this one has none.
  bool is_part_of(const Sandbox& other) const;

 private:
  struct Filter {
    std::vector<sock_filter> program;
    std::shared_ptr<const Filter> before;
  };

  bool strict_ = false;
  std::shared_ptr<const Filter> newest_;
};

}  // namespace rchk::syscalls
