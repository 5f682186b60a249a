#include "engine/replay/worker_processes.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine/tracee/tracee.h"

namespace rchk::replay {

namespace {

// If memory runs out, the kernel is to take workers and their puppets first (proc(5)).
void be_expendable() {
  const FileDescriptor file(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (file.is_open()) static_cast<void>(!write(file.get(), "1000", 4));
}

[[noreturn]] void work_for(pid_t maker, uint32_t worker, int cpu,
                           const WorkerProcesses::Work& work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != maker) _exit(1);
  be_expendable();
  // Where that is not allowed it is slower.
  static_cast<void>(tracee::pin_to_cpu(cpu));
  work(worker, cpu);
  _exit(0);
}

}  // namespace

void WorkerProcesses::start(std::span<const int> cpus, const Work& work) {
  const pid_t maker = getpid();
  for (const int cpu : cpus) {
    const pid_t pid = fork();
    if (pid < 0) return;
    if (pid == 0) work_for(maker, static_cast<uint32_t>(workers_.size()), cpu, work);
    workers_.push_back(pid);
  }
}

bool WorkerProcesses::any_left(const std::function<void(uint32_t)>& ended) {
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i] < 0 || waitpid(workers_[i], nullptr, WNOHANG) == 0) continue;
    workers_[i] = -1;
    if (ended) ended(static_cast<uint32_t>(i));
  }
  return std::any_of(workers_.begin(), workers_.end(), [](pid_t pid) { return pid >= 0; });
}

void WorkerProcesses::end() {
  constexpr auto kLongest = std::chrono::milliseconds(100);
  const auto until = std::chrono::steady_clock::now() + kLongest;
  while (any_left() && std::chrono::steady_clock::now() < until) {
    const timespec moment{0, 500'000};
    nanosleep(&moment, nullptr);
  }
  for (pid_t& pid : workers_) {
    if (pid < 0) continue;
    kill(pid, SIGKILL);  // and with it what it traces, by PTRACE_O_EXITKILL
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) continue;
    pid = -1;
  }
}

std::optional<SharedMemory> SharedMemory::create(size_t size_bytes) {
  void* const memory =
      mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return std::nullopt;
  return SharedMemory({static_cast<std::byte*>(memory), size_bytes});
}

SharedMemory::~SharedMemory() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

}  // namespace rchk::replay
