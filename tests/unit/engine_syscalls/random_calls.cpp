#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <random>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/syscalls/syscall.h"
#include "tests/unit/engine_syscalls/exotic_calls.h"

namespace rchk::syscalls::test {
namespace {

// Calls that only tell something, whatever their arguments: nothing that a random argument could
// make block, kill, close or change. Their last argument kinds are filled in at random.
constexpr int32_t kHarmless[] = {
    nr::stat,
    nr::fstat,
    nr::lstat,
    nr::newfstatat,
    nr::statx,
    nr::statfs,
    nr::fstatfs,
    nr::ustat,
    nr::getcwd,
    nr::readlink,
    nr::readlinkat,
    nr::getdents,
    nr::getdents64,
    nr::pread64,
    nr::preadv,
    nr::preadv2,
    nr::getxattr,
    nr::lgetxattr,
    nr::fgetxattr,
    nr::listxattr,
    nr::llistxattr,
    nr::flistxattr,
    nr::getxattrat,
    nr::listxattrat,
    nr::name_to_handle_at,
    nr::cachestat,
    nr::file_getattr,
    nr::statmount,
    nr::listmount,
    nr::mincore,
    nr::get_mempolicy,
    nr::getrlimit,
    nr::getrusage,
    nr::sysinfo,
    nr::times,
    nr::uname,
    nr::getgroups,
    nr::getresuid,
    nr::getresgid,
    nr::capget,
    nr::sched_getparam,
    nr::sched_getaffinity,
    nr::sched_getattr,
    nr::sched_rr_get_interval,
    nr::getcpu,
    nr::get_robust_list,
    nr::getrandom,
    nr::sysfs,
    nr::getitimer,
    nr::clock_gettime,
    nr::clock_getres,
    nr::gettimeofday,
    nr::time,
    nr::timer_gettime,
    nr::timerfd_gettime,
    nr::rt_sigpending,
    nr::getsockname,
    nr::getpeername,
    nr::getsockopt,
    nr::process_vm_readv,
    nr::lsm_list_modules,
    nr::lsm_get_self_attr,
    nr::mq_getsetattr,
    nr::listns,
};

class RandomCaller {
 public:
  RandomCaller() {
    area_ = static_cast<uint8_t*>(mmap(nullptr, kAreaBytes + kPageSize, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    munmap(area_ + kAreaBytes, kPageSize);
    int pair[2] = {-1, -1};
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    descriptors_ = {open("/proc/self/exe", O_RDONLY), open("/etc", O_RDONLY | O_DIRECTORY),
                    open("/dev/zero", O_RDONLY),      pair[0],
                    socket(AF_INET, SOCK_STREAM, 0),  -1};
  }

  void call_once(const Syscall& row) {
    // Lengths and counts behind pointers stay plausible: small numbers, some of them not zero.
    for (size_t i = 0; i < kAreaBytes; ++i)
      area_[i] = i % 4 == 0 ? static_cast<uint8_t>(random_()) : 0;
    // The area's head is an array of iovecs into its middle.
    iovec vector[4];
    for (iovec& one : vector) one = {pointer(), size()};
    std::memcpy(area_, vector, sizeof(vector));
    std::array<uint64_t, kMaxArguments> arguments{};
    for (size_t i = 0; i < kMaxArguments; ++i) arguments[i] = argument(row, i);
    ::syscall(row.number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
              arguments[5]);
  }

 private:
  static constexpr size_t kAreaBytes = 8 * kPageSize;

  uint64_t below(uint64_t bound) { return random_() % bound; }

  // Somewhere in the area, shortly before its end, or nowhere.
  void* pointer() {
    switch (below(8)) {
      case 0:
        return nullptr;
      case 1:
        return reinterpret_cast<void*>(8);
      case 2:
      case 3:
        return area_ + kAreaBytes - below(200);
      default:
        return area_ + kPageSize + below(4 * kPageSize);
    }
  }

  size_t size() {
    constexpr size_t kSizes[] = {0, 1, 4, 8, 24, 100, 512, 4096, 20000};
    return kSizes[below(std::size(kSizes))];
  }

  uint64_t argument(const Syscall& row, size_t index) {
    const auto address = [](const void* of) { return reinterpret_cast<uint64_t>(of); };
    switch (row.arguments[index].kind) {
      case ArgumentKind::kAbsent:
      case ArgumentKind::kHex:
        return 0;
      case ArgumentKind::kDescriptor:
        return static_cast<uint64_t>(descriptors_[below(descriptors_.size())]);
      case ArgumentKind::kPath:
        return address(below(2) == 0 ? "/proc/self/exe" : "/tmp");
      case ArgumentKind::kText:
        return address("security.selinux");
      case ArgumentKind::kPid:
        return row.number == nr::process_vm_readv ? static_cast<uint64_t>(getpid()) : 0;
      case ArgumentKind::kInteger:
        return below(40);
      case ArgumentKind::kMode:
      case ArgumentKind::kSignal:
        return 0;
      case ArgumentKind::kSize:
      case ArgumentKind::kCount:
        return takes_vector(row) ? below(5) : size();
      case ArgumentKind::kFilledVector:
        return address(area_);
      case ArgumentKind::kInput:
        return row.number == nr::process_vm_readv ? address(area_ + 16) : address(pointer());
      default:
        return address(pointer());
    }
  }

  static bool takes_vector(const Syscall& row) {
    return std::any_of(row.arguments.begin(), row.arguments.end(), [](const Argument& argument) {
      return argument.kind == ArgumentKind::kFilledVector;
    });
  }

  std::mt19937_64 random_{20};
  uint8_t* area_ = nullptr;
  std::array<int, 6> descriptors_{};
};

}  // namespace

int random_calls(int rounds) {
  RandomCaller caller;
  for (int round = 0; round < rounds; ++round) {
    for (const int32_t number : kHarmless) caller.call_once(*find(number));
  }
  return 0;
}

}  // namespace rchk::syscalls::test
