#pragma once

#include <functional>

namespace rchk::snapshot::test {

// What of the kernel's page table interfaces a test may use.
enum class Rights {
  kAll,       // whatever the test runs with
  kNoFrames,  // pagemap hides frame numbers (no CAP_SYS_ADMIN)
  kNoScan,    // and PAGEMAP_SCAN does not exist, as before Linux 6.7
};

// Runs `body` in a thread of its own that has these rights, and waits for it.
void run_with(Rights rights, const std::function<void()>& body);

}  // namespace rchk::snapshot::test
