#include "snapshot/tracker_probe.h"

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

namespace rchk::snapshot {
namespace {

constexpr uint64_t kPages = 4;
constexpr uint64_t kWrittenPage = 1;

// A process with pages of its own, and on demand a sleeping fork of it. Single-threaded, makes
// only calls that are safe after fork, and ends with the prober.
class Helper {
 public:
  static Result<Helper> start() {
    void* memory = mmap(nullptr, kPages * kPageSize, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return fail_errno("mapping memory for a probe");
    int up[2];
    int down[2];
    if (pipe2(up, O_CLOEXEC) != 0) return fail_errno("making a pipe for a probe");
    FileDescriptor up_read(up[0]);
    FileDescriptor up_write(up[1]);
    if (pipe2(down, O_CLOEXEC) != 0) return fail_errno("making a pipe for a probe");
    FileDescriptor down_read(down[0]);
    FileDescriptor down_write(down[1]);
    const int pid = fork();
    if (pid < 0) return fail_errno("forking a helper for a probe");
    if (pid == 0) {
      up_read.reset();
      down_write.reset();
      serve(static_cast<uint8_t*>(memory), down_read.get(), up_write.get());
    }
    munmap(memory, kPages * kPageSize);
    return Helper(pid, {reinterpret_cast<uint64_t>(memory)}, std::move(up_read),
                  std::move(down_write));
  }

  Helper(Helper&& other) noexcept
      : pid_(std::exchange(other.pid_, 0)),
        memory_(other.memory_),
        from_(std::move(other.from_)),
        to_(std::move(other.to_)) {}
  Helper(const Helper&) = delete;
  ~Helper() {
    if (pid_ == 0) return;
    to_.reset();  // ends the helper, which ends its fork
    waitpid(pid_, nullptr, 0);
  }

  int pid() const { return pid_; }
  AddressRange pages() const { return range_of(memory_, kPages * kPageSize); }

  // Touches all pages.
  Result<int64_t> fill() { return ask('f'); }
  // Writes to kWrittenPage.
  Result<int64_t> write_page() { return ask('w'); }
  // Forks a process that sleeps until the helper ends; its pid.
  Result<int64_t> fork_reference() { return ask('r'); }
  // Makes a userfaultfd; its number, or an errno below 0.
  Result<int64_t> make_userfaultfd() { return ask('u'); }

 private:
  Helper(int pid, GuestAddress memory, FileDescriptor from, FileDescriptor to)
      : pid_(pid), memory_(memory), from_(std::move(from)), to_(std::move(to)) {}

  Result<int64_t> ask(char command) {
    int64_t answer = 0;
    // A helper that died closes the pipe; SIGPIPE must not end the prober.
    const auto old_handler = signal(SIGPIPE, SIG_IGN);
    const bool told = write(to_.get(), &command, 1) == 1;
    signal(SIGPIPE, old_handler);
    if (!told || read(from_.get(), &answer, sizeof(answer)) != sizeof(answer)) {
      return fail(ErrorKind::kMachine, "the helper process of a probe died");
    }
    return answer;
  }

  [[noreturn]] static void serve(uint8_t* memory, int from, int to);

  int pid_;
  GuestAddress memory_;
  FileDescriptor from_;
  FileDescriptor to_;
};

// In the helper.
void Helper::serve(uint8_t* memory, int from, int to) {
  int reference = 0;
  char command;
  while (read(from, &command, 1) == 1) {
    int64_t answer = 0;
    if (command == 'f') {
      std::memset(memory, 1, kPages * kPageSize);
    } else if (command == 'w') {
      memory[kWrittenPage * kPageSize] = 2;
    } else if (command == 'u') {
      answer = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
      if (answer < 0) answer = -errno;
    } else if (command == 'r') {
      reference = fork();
      if (reference == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (true) pause();
      }
      answer = reference;
    }
    if (write(to, &answer, sizeof(answer)) != sizeof(answer)) break;
  }
  if (reference > 0) {
    kill(reference, SIGKILL);
    waitpid(reference, nullptr, 0);
  }
  _exit(0);
}

// What a probe saw: nothing when the feature works, or why it does not.
using Reason = std::optional<std::string>;

std::string errno_text(int64_t number) {
  return std::generic_category().message(static_cast<int>(number));
}

// Judges which pages the source called written.
Reason judge(const std::vector<bool>& written) {
  if (!written[kWrittenPage]) return "a page was written and is not marked";
  for (uint64_t i = 0; i < kPages; ++i) {
    if (i != kWrittenPage && written[i]) return "a page that was not written is marked";
  }
  return std::nullopt;
}

// A tracker must tell the page that the helper writes from the others.
Result<Reason> try_tracker(Helper& helper, DirtyTracker& tracker, int reference) {
  RCHK_TRY(tracker.begin(reference));
  RCHK_TRY(helper.write_page());
  RCHK_TRY_ASSIGN(const DirtyPages dirty, tracker.collect());
  std::vector<bool> written;
  for (uint64_t i = 0; i < kPages; ++i) {
    written.push_back(contains(dirty.pages, helper.pages().begin + i * kPageSize));
  }
  return judge(written);
}

Result<Reason> try_userfaultfd(Helper& helper) {
  RCHK_TRY_ASSIGN(const int64_t number, helper.make_userfaultfd());
  if (number < 0) return fmt::format("userfaultfd: {}", errno_text(-number));
  const FileDescriptor process(static_cast<int>(syscall(SYS_pidfd_open, helper.pid(), 0)));
  if (!process.is_open()) return fmt::format("pidfd_open: {}", errno_text(errno));
  FileDescriptor copy(static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), number, 0)));
  if (!copy.is_open()) return fmt::format("pidfd_getfd: {}", errno_text(errno));
  RCHK_TRY_ASSIGN(const auto tracker, make_userfaultfd_tracker(helper.pid(), std::move(copy)));
  return try_tracker(helper, *tracker, -1);
}

Result<Reason> try_fork_tracker(Helper& helper, TrackerKind kind) {
  RCHK_TRY_ASSIGN(const int64_t reference, helper.fork_reference());
  if (reference <= 0) return Reason("the helper could not fork");
  return try_tracker(helper, *make_tracker(kind, helper.pid()), static_cast<int>(reference));
}

Result<Reason> try_kind(TrackerKind kind) {
  RCHK_TRY_ASSIGN(Helper helper, Helper::start());
  RCHK_TRY(helper.fill());
  switch (kind) {
    case TrackerKind::kSoftDirty:
      return try_tracker(helper, *make_tracker(kind, helper.pid()), -1);
    case TrackerKind::kUserfaultfd:
      return try_userfaultfd(helper);
    case TrackerKind::kExclusive:
    case TrackerKind::kContent:
      return try_fork_tracker(helper, kind);
  }
  return Reason("unknown tracker");
}

std::string_view lost_without(TrackerKind kind) {
  switch (kind) {
    case TrackerKind::kSoftDirty:
    case TrackerKind::kUserfaultfd:
      return "snapshots without a fork kept alive";
    case TrackerKind::kExclusive:
      return "finding changed pages without reading them: snapshots take longer";
    case TrackerKind::kContent:
      return "snapshots, where no other tracker works";
  }
  return "";
}

std::string_view remedy_for(TrackerKind kind) {
  switch (kind) {
    case TrackerKind::kSoftDirty:
      return "a kernel with CONFIG_MEM_SOFT_DIRTY, as Debian's is";
    case TrackerKind::kUserfaultfd:
      return "Linux 6.7 or newer with CONFIG_USERFAULTFD, and a sandbox that allows userfaultfd "
             "and "
             "pidfd_getfd";
    case TrackerKind::kExclusive:
      return "a kernel with CONFIG_PROC_PAGE_MONITOR, and a readable /proc/PID/pagemap";
    case TrackerKind::kContent:
      return "the right to trace one's own processes";
  }
  return "";
}

constexpr TrackerKind kBestFirst[] = {TrackerKind::kSoftDirty, TrackerKind::kUserfaultfd,
                                      TrackerKind::kExclusive, TrackerKind::kContent};

TrackerProbe probe_tracker(TrackerKind kind) {
  TrackerProbe probe;
  probe.kind = kind;
  probe.result.name = fmt::format("dirty tracker: {}", name_of(kind));
  const Result<Reason> reason = try_kind(kind);
  if (!reason) {
    probe.result.detail = reason.error().message();
  } else if (*reason) {
    probe.result.detail = **reason;
  } else {
    probe.result.works = true;
    probe.result.detail = "a written page was told from the others";
  }
  probe.result.lost = lost_without(kind);
  if (!probe.result.works) probe.result.remedy = remedy_for(kind);
  return probe;
}

}  // namespace

bool may_ask_for_userfaultfd() {
  Result<Helper> helper = Helper::start();
  return helper && helper->make_userfaultfd();
}

std::vector<TrackerProbe> probe_trackers() {
  std::vector<TrackerProbe> probes;
  for (const TrackerKind kind : kBestFirst) probes.push_back(probe_tracker(kind));
  return probes;
}

Result<TrackerKind> tracker_named(std::string_view name) {
  std::string names;
  for (const TrackerKind kind : kBestFirst) {
    if (name_of(kind) != name) {
      names += fmt::format(" {}", name_of(kind));
      continue;
    }
    const ProbeResult seen = probe_tracker(kind).result;
    if (seen.works) return kind;
    return fail(ErrorKind::kMachine, fmt::format("the dirty tracker {} does not work here: {}. "
                                                 "It takes {}",
                                                 name, seen.detail, seen.remedy));
  }
  return fail(ErrorKind::kMisuse,
              fmt::format("no dirty tracker is called {}; there are{}", name, names));
}

Result<TrackerKind> best_tracker(const std::vector<TrackerProbe>& probes) {
  std::string reasons;
  for (const TrackerProbe& probe : probes) {
    if (probe.result.works) return probe.kind;
    reasons += fmt::format("; {}: {}", name_of(probe.kind), probe.result.detail);
  }
  return fail(ErrorKind::kMachine, "no way to tell changed pages works here" + reasons);
}

}  // namespace rchk::snapshot
