#pragma once

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "base/types.h"

namespace rchk::snapshot::test {

// Where test guests map their memory, so that tests know the addresses.
inline constexpr uint64_t kBase = 0x2000'0000'0000;

inline uint8_t* at_page(uint64_t index) {
  return reinterpret_cast<uint8_t*>(kBase + index * kPageSize);
}
inline GuestAddress page(uint64_t index) { return {kBase + index * kPageSize}; }
inline AddressRange page_range(uint64_t first, uint64_t count) {
  return range_of(page(first), count * kPageSize);
}

// The guest's end of the conversation with the test. Used in the guest only.
class GuestSide {
 public:
  GuestSide(int to_test, int from_test) : to_test_(to_test), from_test_(from_test) {}

  // Tells the test a number, and waits until the test says go.
  void tell(uint64_t number) {
    if (write(to_test_, &number, sizeof(number)) != sizeof(number)) _exit(10);
    char go;
    if (read(from_test_, &go, 1) != 1) _exit(11);
  }
  // Leaves a sleeping fork behind, and tells its pid; or just 0, where no fork is wanted.
  void fork_reference() { tell(forks_ ? static_cast<uint64_t>(sleeping_fork()) : 0); }
  void set_forks(bool forks) { forks_ = forks; }
  // A fork that sleeps until the guest ends.
  int sleeping_fork() {
    const int guest = getpid();
    const int pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != guest) _exit(0);  // the guest ended before the line above
      while (true) pause();
    }
    return pid;
  }
  // Memory at page(first) of the test area.
  uint8_t* map(uint64_t first, uint64_t pages, int protection = PROT_READ | PROT_WRITE,
               int flags = MAP_PRIVATE | MAP_ANONYMOUS, int file = -1, uint64_t offset = 0) {
    void* got = mmap(at_page(first), pages * kPageSize, protection, flags | MAP_FIXED, file,
                     static_cast<off_t>(offset));
    if (got == MAP_FAILED) _exit(12);
    return static_cast<uint8_t*>(got);
  }

 private:
  int to_test_;
  int from_test_;
  bool forks_ = true;
};

// Stops a process and waits until it has stopped. The test need not be its parent.
inline void stop(int pid) {
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  std::string stat;
  while (std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/stat"), stat)) {
    // The state follows the name, which is in parentheses (proc(5)).
    if (stat.find(") T ") != std::string::npos) return;
    usleep(100);
  }
  FAIL() << "process " << pid << " is gone";
}

// A child process that runs `body` step by step.
class Guest {
 public:
  explicit Guest(const std::function<void(GuestSide&)>& body) {
    int up[2];
    int down[2];
    EXPECT_EQ(pipe(up), 0);
    EXPECT_EQ(pipe(down), 0);
    malloc_trim(0);  // the guest begins with a copy of all that the test has, freed or not
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(up[0]);
      close(down[1]);
      GuestSide side(up[1], down[0]);
      // Made by the guest itself, as it has to be, and kept by the test alone.
      const long userfaultfd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
      side.tell(static_cast<uint64_t>(userfaultfd));
      if (userfaultfd >= 0) close(static_cast<int>(userfaultfd));
      body(side);
      _exit(0);
    }
    close(up[1]);
    close(down[0]);
    from_guest_ = up[0];
    to_guest_ = down[1];
    take_over(static_cast<int>(hear()));
    go();
  }
  ~Guest() {
    end();
    close(from_guest_);
    close(to_guest_);
  }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  int pid() const { return pid_; }
  // A userfaultfd of the guest's memory, not open where the kernel has none.
  FileDescriptor take_userfaultfd() { return std::move(userfaultfd_); }
  // The number that the guest tells next; the guest is stopped then.
  uint64_t hear() {
    uint64_t number = 0;
    const bool heard = read(from_guest_, &number, sizeof(number)) == sizeof(number);
    EXPECT_TRUE(heard) << "the guest ended";
    if (heard) stop(pid_);
    return number;
  }
  void go() {
    EXPECT_EQ(kill(pid_, SIGCONT), 0);
    EXPECT_EQ(write(to_guest_, "g", 1), 1);
  }
  uint64_t go_and_hear() {
    go();
    return hear();
  }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  void take_over(int number) {
    const FileDescriptor process(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
    userfaultfd_ =
        FileDescriptor(static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), number, 0)));
  }

  FileDescriptor userfaultfd_;
  int pid_ = 0;
  int from_guest_ = -1;
  int to_guest_ = -1;
};

}  // namespace rchk::snapshot::test
