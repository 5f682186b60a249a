#include "base/cpus.h"

#include <sched.h>

namespace rchk {

void run_on(pid_t tid, std::span<const int> cpus) {
  if (cpus.empty()) return;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  for (const int cpu : cpus) CPU_SET(cpu, &allowed);
  sched_setaffinity(tid, sizeof allowed, &allowed);
}

}  // namespace rchk
