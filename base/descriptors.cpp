#include "base/descriptors.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace rchk {

namespace {

constexpr rlim_t kMostSetAside = 32;

rlimit before{};
bool is_raised = false;
std::mutex mutex;
std::vector<int> set_aside;
std::atomic<bool> ran_out = false;

}  // namespace

void take_descriptors() {
  if (getrlimit(RLIMIT_NOFILE, &before) != 0) return;
  rlimit wanted = before;
  wanted.rlim_cur = wanted.rlim_max;
  is_raised = setrlimit(RLIMIT_NOFILE, &wanted) == 0;
  const rlim_t count = std::min(kMostSetAside, wanted.rlim_cur / 4);
  while (set_aside.size() < count) {
    const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (next < 0) break;
    set_aside.push_back(next);
  }
}

void restore_descriptor_limit() {
  if (is_raised) setrlimit(RLIMIT_NOFILE, &before);
}

int open_descriptor(const char* path, int flags) {
  const int opened = open(path, flags | O_CLOEXEC);
  if (opened >= 0 || (errno != EMFILE && errno != ENFILE)) return opened;
  const std::lock_guard lock(mutex);
  ran_out = true;
  for (const int kept : set_aside) close(kept);
  set_aside.clear();
  return open(path, flags | O_CLOEXEC);
}

bool descriptors_ran_out() { return ran_out; }

}  // namespace rchk
