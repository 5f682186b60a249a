#include "tests/unit/engine_syscalls/exotic_calls.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/if.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/syscalls/syscall.h"

namespace rchk::syscalls::test {
namespace {

constexpr size_t kBufferBytes = 64 << 10;
alignas(4096) uint8_t g_buffer[kBufferBytes];
alignas(4096) uint8_t g_other[kBufferBytes];

// A buffer in which everything that is stored shows.
template <typename T = void>
T* fresh() {
  for (size_t i = 0; i < kBufferBytes; ++i) g_buffer[i] = static_cast<uint8_t>(0x5a ^ (i * 7));
  return reinterpret_cast<T*>(g_buffer);
}
template <typename T = void>
T* other() {
  for (size_t i = 0; i < kBufferBytes; ++i) g_other[i] = static_cast<uint8_t>(0xa6 ^ (i * 5));
  return reinterpret_cast<T*>(g_other);
}

template <typename... Arguments>
long call(int32_t number, Arguments... arguments) {
  return ::syscall(number, arguments...);
}

// Two pages of which the second is not mapped; returns the address of the last `bytes` before it.
uint8_t* at_edge(size_t bytes) {
  auto* pages = static_cast<uint8_t*>(
      mmap(nullptr, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  munmap(pages + 4096, 4096);
  std::memset(pages, 0x77, 4096);
  return pages + 4096 - bytes;
}

void files(const char* path) {
  const int fd =
      static_cast<int>(call(nr::openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_TRUNC, 0600));
  std::memset(g_other, 'x', 10000);
  call(nr::write, fd, g_other, 10000);
  call(nr::lseek, fd, 0, SEEK_SET);
  call(nr::read, fd, fresh(), 100);
  call(nr::read, fd, fresh(), kBufferBytes);
  call(nr::pread64, fd, fresh(), 5000, 8000);
  call(nr::pread64, fd, at_edge(50), 200, 0);
  call(nr::pread64, fd, nullptr, 200, 0);
  fresh();
  iovec pieces[3] = {{g_buffer + 1, 10}, {g_buffer + 100, 20}, {g_buffer + 1000, 4000}};
  call(nr::lseek, fd, 9000, SEEK_SET);
  call(nr::readv, fd, pieces, 3);
  fresh();
  call(nr::preadv, fd, pieces, 3, 9980, 0);
  fresh();
  call(nr::preadv2, fd, pieces, 3, 9000, 0, 0);
  iovec edge[2] = {{g_buffer, 7}, {at_edge(10), 100}};
  fresh();
  call(nr::preadv, fd, edge, 2, 0, 0);
  call(nr::pwritev, fd, pieces, 3, 0, 0);
  call(nr::pwritev2, fd, pieces, 3, 0, 0, 0);
  call(nr::stat, path, fresh());
  call(nr::lstat, path, fresh());
  call(nr::fstat, fd, fresh());
  call(nr::fstat, fd, at_edge(20));
  call(nr::newfstatat, AT_FDCWD, path, fresh(), 0);
  call(nr::statx, AT_FDCWD, path, 0, 0xfff, fresh());
  call(nr::stat, "/nonexistent", fresh());
  call(nr::statfs, "/", fresh());
  call(nr::fstatfs, fd, fresh());
  call(nr::ustat, 1, fresh());
  call(nr::access, path, R_OK);
  call(nr::faccessat, AT_FDCWD, path, R_OK);
  call(nr::faccessat2, AT_FDCWD, path, R_OK, 0);
  call(nr::getcwd, fresh(), 4096);
  call(nr::getcwd, fresh(), 1);
  call(nr::readlink, "/proc/self/exe", fresh(), 4096);
  call(nr::readlink, "/proc/self/exe", fresh(), 5);
  call(nr::readlinkat, AT_FDCWD, "/proc/self/exe", fresh(), 4096);
  call(nr::setxattr, path, "user.rchk", "some value", 10, 0);
  call(nr::fsetxattr, fd, "user.two", "other", 5, 0);
  call(nr::getxattr, path, "user.rchk", fresh(), 100);
  call(nr::getxattr, path, "user.rchk", fresh(), 0);
  call(nr::getxattr, path, "user.rchk", fresh(), 3);
  call(nr::lgetxattr, path, "user.rchk", fresh(), 100);
  call(nr::fgetxattr, fd, "user.rchk", fresh(), 100);
  call(nr::listxattr, path, fresh(), 100);
  call(nr::llistxattr, path, fresh(), 100);
  call(nr::flistxattr, fd, fresh(), 100);
  struct {
    uint64_t value;
    uint32_t size, flags;
  } xattr{reinterpret_cast<uint64_t>(fresh()), 100, 0};
  call(nr::getxattrat, AT_FDCWD, path, 0, "user.rchk", &xattr, sizeof(xattr));
  call(nr::listxattrat, AT_FDCWD, path, 0, fresh(), 100);
  call(nr::removexattr, path, "user.rchk");
  call(nr::fremovexattr, fd, "user.two");
  *fresh<uint32_t>() = 128;
  call(nr::name_to_handle_at, AT_FDCWD, path, g_buffer, other(), 0);
  *fresh<uint32_t>() = 0;
  call(nr::name_to_handle_at, AT_FDCWD, path, g_buffer, other(), 0);
  const int directory = static_cast<int>(call(nr::open, "/etc", O_RDONLY | O_DIRECTORY, 0));
  call(nr::getdents64, directory, fresh(), 4096);
  call(nr::getdents, directory, fresh(), 4096);
  call(nr::getdents64, directory, fresh(), 10);
  struct flock lock {};
  lock.l_type = F_WRLCK;
  call(nr::fcntl, fd, F_SETLK, &lock);
  call(nr::fcntl, fd, F_GETLK, &lock);
  lock.l_type = F_RDLCK;
  call(nr::fcntl, fd, F_OFD_GETLK, &lock);
  call(nr::fcntl, fd, F_GETFL, 0);
  call(nr::fcntl, fd, F_GETOWN_EX, fresh());
  call(nr::fcntl, fd, 17, fresh());
  call(nr::fcntl, fd, F_GET_RW_HINT, fresh());
  *fresh<uint64_t>() = 2;
  call(nr::fcntl, fd, F_SET_RW_HINT, g_buffer);
  call(nr::flock, fd, LOCK_EX);
  call(nr::fallocate, fd, 0, 0, 20000);
  call(nr::ftruncate, fd, 12000);
  call(nr::fsync, fd);
  call(nr::fdatasync, fd);
  call(nr::fadvise64, fd, 0, 100, 0);
  call(nr::readahead, fd, 0, 100);
  uint64_t range[2] = {0, 0};
  call(nr::cachestat, fd, range, fresh(), 0);
  const int second = static_cast<int>(call(nr::memfd_create, "rchk", 0));
  *fresh<int64_t>() = 5;
  call(nr::sendfile, second, fd, g_buffer, 3000);
  int64_t* offsets = fresh<int64_t>();
  offsets[0] = 10;
  offsets[1] = 11000;
  call(nr::copy_file_range, fd, offsets, fd, offsets + 1, 100, 0);
  int pipe_ends[2];
  call(nr::pipe, pipe_ends);
  call(nr::pipe2, fresh(), O_CLOEXEC);
  offsets[0] = 10;
  call(nr::splice, fd, offsets, pipe_ends[1], nullptr, 200, 0);
  fresh();
  call(nr::vmsplice, pipe_ends[0], pieces, 3, 0);
  call(nr::vmsplice, pipe_ends[1], pieces, 3, 0);
  call(nr::pipe2, fresh(), O_CLOEXEC);
  call(nr::tee, pipe_ends[0], reinterpret_cast<int*>(g_buffer)[1], 10, 0);
  call(nr::ioctl, pipe_ends[0], FIONREAD, fresh());
  call(nr::ioctl, fd, FIONREAD, fresh());
  call(nr::ioctl, fd, 2 /* FIGETBSZ */, fresh());
  call(nr::ioctl, fd, FIOQSIZE, fresh());
  call(nr::ioctl, fd, 0x80086601, fresh());
  call(nr::ioctl, fd, 0x801c581f, fresh());
  call(nr::ioctl, fd, 0x80087601, fresh());
  call(nr::ioctl, fd, 0x80111500, fresh());
  call(nr::ioctl, fd, 0x81009431, fresh());
  auto* fiemap = fresh<uint32_t>();
  std::memset(fiemap, 0, 32);
  fiemap[2] = fiemap[3] = 0xffffffff;
  fiemap[6] = 4;
  call(nr::ioctl, fd, 0xc020660b, fiemap);
  call(nr::ioctl, fd, FIOCLEX);
  call(nr::dup, fd);
  call(nr::dup2, fd, 100);
  call(nr::dup3, fd, 101, O_CLOEXEC);
  call(nr::fcntl, fd, F_DUPFD, 200);
  call(nr::close, 100);
  call(nr::close_range, 101, 300, 0);
  call(nr::chmod, path, 0644);
  call(nr::fchmod, fd, 0600);
  call(nr::utimensat, AT_FDCWD, path, nullptr, 0);
  call(nr::statmount, g_buffer, g_other, 100, 0);
  struct {
    uint32_t size, spare;
    uint64_t id, parameter, fields;
  } mount_request{24, 0, ~uint64_t{0}, 0, 0};
  call(nr::listmount, &mount_request, fresh(), 10, 0);
  mount_request.id = *reinterpret_cast<uint64_t*>(g_buffer);
  mount_request.parameter = 0x3f;
  call(nr::statmount, &mount_request, fresh(), 4096, 0);
  call(nr::file_getattr, AT_FDCWD, path, fresh(), 24, 0);
  call(nr::umask, 022);
  call(nr::sysfs, 2, 0, fresh());
  call(nr::sysfs, 3);
  call(nr::quotactl, 0x800004 << 8, "/", 0, fresh());
  const int direct = static_cast<int>(call(nr::open, path, O_RDONLY | O_DIRECT, 0));
  call(nr::read, direct, fresh(), 4096 * 8);
  call(nr::close, direct);
  call(nr::unlink, path);
}

void processes() {
  call(nr::getpid);
  call(nr::gettid);
  call(nr::getppid);
  call(nr::getuid);
  call(nr::getgid);
  call(nr::geteuid);
  call(nr::getegid);
  call(nr::getpgrp);
  call(nr::getpgid, 0);
  call(nr::getsid, 0);
  uint32_t* ids = fresh<uint32_t>();
  call(nr::getresuid, ids, ids + 1, ids + 2);
  call(nr::getresgid, ids, ids + 5, ids + 7);
  uint32_t groups[3] = {0, 1, 2};
  call(nr::setgroups, 3, groups);
  call(nr::getgroups, 100, fresh());
  call(nr::getgroups, 0, nullptr);
  call(nr::uname, fresh());
  call(nr::sysinfo, fresh());
  call(nr::times, fresh());
  call(nr::getrusage, RUSAGE_SELF, fresh());
  call(nr::getrlimit, RLIMIT_NOFILE, fresh());
  call(nr::prlimit64, 0, RLIMIT_STACK, nullptr, fresh());
  auto* header = fresh<__user_cap_header_struct>();
  header->version = _LINUX_CAPABILITY_VERSION_3;
  header->pid = 0;
  call(nr::capget, header, other());
  header->version = 1;
  call(nr::capget, header, other());
  call(nr::prctl, PR_GET_NAME, fresh());
  call(nr::prctl, PR_SET_NAME, "renamed");
  call(nr::prctl, PR_GET_PDEATHSIG, fresh());
  call(nr::prctl, PR_GET_TSC, fresh());
  call(nr::prctl, PR_GET_CHILD_SUBREAPER, fresh());
  call(nr::prctl, PR_GET_TID_ADDRESS, fresh());
  call(nr::prctl, PR_GET_DUMPABLE);
  call(nr::prctl, 0x41555856, fresh(), 1000, 0, 0);
  call(nr::prctl, 0x41555856, fresh(), 10, 0, 0);
  call(nr::prctl, PR_SET_MM, PR_SET_MM_MAP_SIZE, fresh(), 0, 0);
  call(nr::prctl, PR_SCHED_CORE, 0, 0, 0, fresh());
  call(nr::prctl, PR_SET_SECCOMP, 1);
  for (const int option : {66, 68}) call(nr::prctl, option, 0, 0, 0, 0);
  call(nr::prctl, 9999, fresh(), g_other, g_buffer, g_other);
  call(nr::arch_prctl, ARCH_GET_FS, fresh());
  call(nr::arch_prctl, ARCH_GET_GS, fresh());
  call(nr::arch_prctl, 0x1021, fresh());
  call(nr::arch_prctl, 0x1022, fresh());
  call(nr::arch_prctl, ARCH_GET_CPUID, 0);
  call(nr::personality, 0xffffffff);
  call(nr::getpriority, 0, 0);
  call(nr::ioprio_get, 1, 0);
  call(nr::sched_getaffinity, 0, 1024, fresh());
  call(nr::sched_getaffinity, 0, 1, fresh());
  call(nr::sched_getparam, 0, fresh());
  call(nr::sched_getscheduler, 0);
  call(nr::sched_get_priority_max, 1);
  call(nr::sched_rr_get_interval, 0, fresh());
  call(nr::sched_getattr, 0, fresh(), 48, 0);
  call(nr::sched_getattr, 0, fresh(), 4000, 0);
  auto* attributes = fresh<uint32_t>();
  attributes[0] = 4000;
  call(nr::sched_setattr, 0, attributes, 0);
  call(nr::sched_yield);
  uint32_t* cpu = fresh<uint32_t>();
  call(nr::getcpu, cpu, cpu + 3, nullptr);
  call(nr::set_tid_address, g_buffer + 100);
  call(nr::get_robust_list, 0, fresh(), other());
  call(nr::syslog, 10, nullptr, 0);
  call(nr::syslog, 3, fresh(), 2000);
  call(nr::getrandom, fresh(), 100, 0);
  call(nr::getrandom, at_edge(10), 300, 0);
  call(nr::kcmp, getpid(), getpid(), 1, 0, 0);
  call(nr::rseq, g_buffer, 32, 0, 0);
  call(nr::membarrier, 0, 0, 0);
  call(nr::lsm_list_modules, fresh(), &(*other<uint32_t>() = 4000), 0);
  call(nr::lsm_list_modules, fresh(), &(*other<uint32_t>() = 1), 0);
  call(nr::lsm_get_self_attr, 100, fresh(), &(*other<uint32_t>() = 4000), 0);
  struct {
    uint32_t size, spare;
    uint64_t id;
    uint32_t type, spare2;
    uint64_t user;
  } namespaces{32, 0, 0, 0, 0, 0};
  call(nr::listns, &namespaces, fresh(), 100, 0);
  const long pidfd = call(nr::pidfd_open, getpid(), 0);
  auto* info = fresh<uint64_t>();
  info[0] = 7;
  call(nr::ioctl, pidfd, 0xc040ff0b, info);
  call(nr::pidfd_getfd, pidfd, 1, 0);
}

void children() {
  const auto child = [] {
    const pid_t pid = fork();
    if (pid == 0) _exit(3);
    return pid;
  };
  child();
  call(nr::wait4, -1, fresh(), 0, other());
  call(nr::wait4, -1, fresh(), WNOHANG, other());
  child();
  call(nr::waitid, P_ALL, 0, fresh(), WEXITED, other());
  call(nr::waitid, P_ALL, 0, fresh(), WEXITED | WNOHANG, other());
}

void times() {
  call(nr::time, fresh());
  call(nr::gettimeofday, fresh(), other());
  for (int clock = 0; clock < 12; ++clock) {
    call(nr::clock_gettime, clock, fresh());
    call(nr::clock_getres, clock, fresh());
  }
  auto* timex = fresh<uint8_t>();
  std::memset(timex, 0, 208);
  call(nr::adjtimex, timex);
  std::memset(timex, 0, 208);
  call(nr::clock_adjtime, 0, timex);
  timespec brief{0, 1000};
  call(nr::nanosleep, &brief, fresh());
  call(nr::clock_nanosleep, CLOCK_MONOTONIC, 0, &brief, fresh());
  // A sleep that a signal ends stores what remains.
  signal(SIGALRM, [](int) {});
  itimerval soon{{0, 0}, {0, 2000}};
  timespec longer{1, 0};
  call(nr::setitimer, ITIMER_REAL, &soon, fresh());
  call(nr::nanosleep, &longer, fresh());
  call(nr::setitimer, ITIMER_REAL, &soon, fresh());
  call(nr::clock_nanosleep, CLOCK_REALTIME, 0, &longer, fresh());
  call(nr::getitimer, ITIMER_REAL, fresh());
  pollfd never{-1, POLLIN, 0x77};
  call(nr::setitimer, ITIMER_REAL, &soon, fresh());
  call(nr::ppoll, &never, 1, &longer, nullptr, 8);
  longer = {1, 0};
  call(nr::setitimer, ITIMER_REAL, &soon, fresh());
  call(nr::pselect6, 0, nullptr, nullptr, nullptr, &longer, nullptr);
  // On a busy machine the first alarm may come before the call.
  itimerval often{{0, 20'000}, {0, 2000}}, never_again{};
  call(nr::setitimer, ITIMER_REAL, &often, fresh());
  call(nr::pause);
  call(nr::setitimer, ITIMER_REAL, &never_again, fresh());
  sigevent event{};
  event.sigev_notify = SIGEV_NONE;
  int32_t* timer = fresh<int32_t>();
  call(nr::timer_create, CLOCK_MONOTONIC, &event, timer);
  const itimerspec setting{{0, 0}, {100, 0}};
  call(nr::timer_settime, *timer, 0, &setting, other());
  call(nr::timer_settime, *timer, 0, &setting, other());
  call(nr::timer_gettime, *timer, other());
  call(nr::timer_getoverrun, *timer);
  call(nr::timer_delete, *timer);
  const long fd = call(nr::timerfd_create, CLOCK_MONOTONIC, 0);
  call(nr::timerfd_settime, fd, 0, &setting, fresh());
  call(nr::timerfd_settime, fd, 0, &setting, fresh());
  call(nr::timerfd_gettime, fd, fresh());
  call(nr::alarm, 0);
}

void signals() {
  struct {
    uint64_t handler, flags, restorer, mask;
  } action{1, 0, 0, 0};
  call(nr::rt_sigaction, SIGUSR1, &action, fresh(), 8);
  call(nr::rt_sigaction, SIGUSR1, nullptr, fresh(), 8);
  uint64_t set = uint64_t{1} << (SIGUSR2 - 1);
  call(nr::rt_sigprocmask, SIG_BLOCK, &set, fresh(), 8);
  call(nr::kill, getpid(), SIGUSR2);
  call(nr::rt_sigpending, fresh(), 8);
  call(nr::rt_sigpending, fresh(), 4);
  timespec brief{0, 1000};
  call(nr::rt_sigtimedwait, &set, fresh(), &brief, 8);
  call(nr::rt_sigtimedwait, &set, fresh(), &brief, 8);
  call(nr::sigaltstack, nullptr, fresh());
  const long fd = call(nr::signalfd4, -1, &set, 8, 0);
  call(nr::tgkill, getpid(), gettid(), SIGUSR2);
  call(nr::read, fd, fresh(), 4096);
}

void sockets() {
  int* pair = fresh<int>();
  call(nr::socketpair, AF_UNIX, SOCK_DGRAM, 0, pair);
  const int ends[2] = {pair[0], pair[1]};
  call(nr::sendto, ends[0], "datagram", 8, 0, nullptr, 0);
  *other<uint32_t>() = 100;
  call(nr::recvfrom, ends[1], fresh(), 100, 0, g_other + 100, g_other);
  call(nr::sendto, ends[0], "truncated", 9, 0, nullptr, 0);
  call(nr::recvfrom, ends[1], fresh(), 4, MSG_TRUNC, nullptr, nullptr);
  call(nr::recvfrom, ends[1], fresh(), 4, MSG_DONTWAIT, nullptr, nullptr);
  // Messages with descriptors and credentials.
  int one = 1;
  call(nr::setsockopt, ends[1], SOL_SOCKET, SO_PASSCRED, &one, 4);
  char payload[] = "payload with rights";
  iovec piece{payload, sizeof(payload)};
  alignas(8) uint8_t control[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(2 * sizeof(int));
  std::memcpy(CMSG_DATA(rights), ends, sizeof(ends));
  mmsghdr sent[2];
  sent[0] = sent[1] = {message, 77};
  for (int i = 0; i < 3; ++i) call(nr::sendmsg, ends[0], &message, 0);
  call(nr::sendmmsg, ends[0], sent, 2, 0);
  fresh();
  other();
  iovec in[2] = {{g_buffer, 4}, {g_buffer + 100, 300}};
  msghdr received{};
  received.msg_name = g_other;
  received.msg_namelen = 64;
  received.msg_iov = in;
  received.msg_iovlen = 2;
  received.msg_control = g_other + 1000;
  received.msg_controllen = 200;
  call(nr::recvmsg, ends[1], &received, 0);
  received.msg_controllen = 20;  // cuts the ancillary data
  received.msg_namelen = 3;
  call(nr::recvmsg, ends[1], &received, 0);
  in[0].iov_len = in[1].iov_len = 1;
  received.msg_controllen = 0;
  call(nr::recvmsg, ends[1], &received, MSG_TRUNC);
  fresh();
  in[0].iov_len = 3;
  in[1].iov_len = 100;
  mmsghdr many[4];
  for (size_t i = 0; i < 4; ++i) {
    many[i] = {received, 0x77777777};
    many[i].msg_hdr.msg_control = g_other + 2000 + 200 * i;
    many[i].msg_hdr.msg_controllen = 150;
  }
  timespec timeout{1, 0};
  call(nr::recvmmsg, ends[1], many, 4, MSG_DONTWAIT, &timeout);
  call(nr::recvmmsg, ends[1], many, 4, MSG_DONTWAIT, nullptr);
  call(nr::recvmsg, ends[1], &received, MSG_DONTWAIT);
  call(nr::ioctl, ends[1], FIONREAD, fresh());

  const int listener = static_cast<int>(call(nr::socket, AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  call(nr::bind, listener, &address, sizeof(address));
  call(nr::listen, listener, 5);
  socklen_t length = sizeof(address);
  call(nr::getsockname, listener, &address, &length);
  int accepted[2];
  for (int& end : accepted) {
    const long client = call(nr::socket, AF_INET, SOCK_STREAM, 0);
    call(nr::connect, client, &address, sizeof(address));
    *other<uint32_t>() = 10;  // shorter than the address
    end = static_cast<int>(call(nr::accept4, listener, fresh(), g_other, 0));
    *other<uint32_t>() = 128;
    call(nr::getpeername, client, fresh(), g_other);
  }
}

void options() {
  const int fd = static_cast<int>(call(nr::socket, AF_INET, SOCK_STREAM, 0));
  const int local = static_cast<int>(call(nr::socket, AF_UNIX, SOCK_STREAM, 0));
  for (const int end : {fd, local}) {
    for (int option = 1; option < 80; ++option) {
      *other<uint32_t>() = 64;
      call(nr::getsockopt, end, SOL_SOCKET, option, fresh(), g_other);
      *other<uint32_t>() = 2;
      call(nr::getsockopt, end, SOL_SOCKET, option, fresh(), g_other);
    }
  }
  for (int option = 1; option < 40; ++option) {
    if (option == TCP_ZEROCOPY_RECEIVE) continue;
    *other<uint32_t>() = 300;
    call(nr::getsockopt, fd, IPPROTO_TCP, option, fresh(), g_other);
    *other<uint32_t>() = 300;
    call(nr::getsockopt, fd, IPPROTO_IP, option, fresh(), g_other);
  }
  *other<uint32_t>() = 64;
  call(nr::getsockopt, -1, SOL_SOCKET, SO_TYPE, fresh(), g_other);
  auto* interface = fresh<ifreq>();
  std::memset(interface, 0, sizeof(ifreq));
  std::strcpy(interface->ifr_name, "lo");
  for (const int request : {SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFNETMASK, SIOCGIFMTU, SIOCGIFINDEX,
                            SIOCGIFHWADDR, SIOCGIFNAME, SIOCGIFTXQLEN, SIOCGIFMAP}) {
    call(nr::ioctl, fd, request, interface);
  }
  struct {
    int bytes, spare;
    void* buffer;
  } interfaces{400, 0, fresh()};
  call(nr::ioctl, fd, SIOCGIFCONF, &interfaces);
}

void polling() {
  int ends[2];
  call(nr::pipe, ends);
  call(nr::write, ends[1], "x", 1);
  auto* polled = fresh<pollfd>();
  polled[0] = {ends[0], POLLIN, 0x55};
  polled[1] = {ends[1], POLLOUT, 0x55};
  polled[2] = {999, POLLIN, 0x55};
  call(nr::poll, polled, 3, 0);
  timespec second{1, 0};
  polled[0].revents = 0x55;
  call(nr::ppoll, polled, 1, &second, nullptr, 8);
  auto* sets = fresh<uint64_t>();
  std::memset(sets, 0, 3 * 128);
  for (int i = 0; i < 3; ++i) sets[16 * i] = (1u << ends[0]) | (1u << ends[1]);
  timeval wait{1, 0};
  call(nr::select, 70, sets, sets + 16, sets + 32, &wait);
  sets[0] = 1u << ends[0];
  call(nr::pselect6, ends[0] + 1, sets, nullptr, nullptr, &second, nullptr);
  const long epoll = call(nr::epoll_create1, 0);
  call(nr::epoll_create, 5);
  epoll_event event{EPOLLIN, {.u64 = 0x123456789abcdef}};
  call(nr::epoll_ctl, epoll, EPOLL_CTL_ADD, ends[0], &event);
  call(nr::epoll_wait, epoll, fresh(), 10, 0);
  call(nr::epoll_pwait, epoll, fresh(), 10, 0, nullptr, 8);
  call(nr::epoll_pwait2, epoll, fresh(), 10, &second, nullptr, 8);
  call(nr::epoll_wait, epoll, at_edge(6), 10, 0);
  call(nr::ioctl, epoll, 0x80088a02, fresh());
  const long counter = call(nr::eventfd2, 5, 0);
  call(nr::eventfd, 5);
  call(nr::read, counter, fresh(), 8);
  const long watch = call(nr::inotify_init1, IN_NONBLOCK);
  call(nr::inotify_add_watch, watch, "/tmp", IN_ALL_EVENTS);
  const long created = call(nr::open, "/tmp", O_TMPFILE | O_RDWR, 0600);
  call(nr::close, created);
  call(nr::read, watch, fresh(), 4096);
}

void ipc() {
  const long queue = call(nr::msgget, IPC_PRIVATE, 0600);
  struct {
    long type;
    char text[20];
  } message{5, "nineteen characters"};
  call(nr::msgsnd, queue, &message, 20, 0);
  call(nr::msgctl, queue, IPC_STAT, fresh());
  call(nr::msgctl, queue, IPC_INFO, fresh());
  call(nr::msgctl, 0, MSG_INFO, fresh());
  call(nr::msgctl, 0, MSG_STAT, fresh());
  call(nr::msgrcv, queue, fresh(), 100, 0, 0);
  call(nr::msgrcv, queue, fresh(), 100, 0, IPC_NOWAIT);
  call(nr::msgctl, queue, IPC_RMID, 0);
  const long set = call(nr::semget, IPC_PRIVATE, 7, 0600);
  sembuf operation{0, 1, 0};
  call(nr::semop, set, &operation, 1);
  call(nr::semctl, set, 0, GETALL, fresh());
  call(nr::semctl, set, 0, IPC_STAT, fresh());
  call(nr::semctl, set, 0, IPC_INFO, fresh());
  call(nr::semctl, set, 0, SEM_INFO, fresh());
  call(nr::semctl, set, 0, GETVAL, fresh());
  call(nr::semctl, set, 0, IPC_RMID, 0);
  const long segment = call(nr::shmget, IPC_PRIVATE, 10000, 0600);
  const long attached = call(nr::shmat, segment, 0, 0);
  call(nr::shmctl, segment, IPC_STAT, fresh());
  call(nr::shmctl, segment, IPC_INFO, fresh());
  call(nr::shmctl, 0, SHM_INFO, fresh());
  call(nr::shmctl, 0, SHM_STAT, fresh());
  call(nr::shmdt, attached);
  call(nr::shmctl, segment, IPC_RMID, 0);
  const long posix = call(nr::mq_open, "rchk-test", O_RDWR | O_CREAT | O_NONBLOCK, 0600, nullptr);
  call(nr::mq_timedsend, posix, "posix message", 13, 3, nullptr);
  call(nr::mq_getsetattr, posix, nullptr, fresh());
  call(nr::mq_timedreceive, posix, fresh(), 8192, other(), nullptr);
  call(nr::mq_timedreceive, posix, fresh(), 8192, other(), nullptr);
  call(nr::mq_unlink, "rchk-test");
  auto* word = fresh<uint32_t>();
  word[0] = 1;
  word[5] = 2;
  call(nr::futex, word, FUTEX_WAIT, 99, nullptr, nullptr, 0);
  call(nr::futex, word, FUTEX_WAKE_OP, 1, 1, word + 5,
       FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 0));
  word[0] = 0;
  call(nr::futex, word, FUTEX_LOCK_PI, 0, nullptr, nullptr, 0);
  call(nr::futex, word, FUTEX_LOCK_PI, 0, nullptr, nullptr, 0);
  call(nr::futex, word, FUTEX_UNLOCK_PI, 0, nullptr, nullptr, 0);
  call(nr::futex, word, FUTEX_TRYLOCK_PI, 0, nullptr, nullptr, 0);
  call(nr::futex_wake, word, 1, 1, 2);
  const long key = call(nr::add_key, "user", "rchk", "key data", 8, KEY_SPEC_PROCESS_KEYRING);
  call(nr::keyctl, KEYCTL_READ, key, fresh(), 100, 0);
  call(nr::keyctl, KEYCTL_READ, key, fresh(), 3, 0);
  call(nr::keyctl, KEYCTL_DESCRIBE, key, fresh(), 100, 0);
  call(nr::keyctl, KEYCTL_GET_SECURITY, key, fresh(), 100, 0);
  call(nr::keyctl, KEYCTL_CAPABILITIES, fresh(), 100, 0, 0);
}

void memory() {
  constexpr size_t kPages = 16;
  const auto map = [](int flags, int fd) {
    return reinterpret_cast<uint8_t*>(
        call(nr::mmap, 0, kPages * 4096, PROT_READ | PROT_WRITE, flags, fd, 0));
  };
  uint8_t* area = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  std::memset(area, 1, kPages * 4096);
  call(nr::mincore, area, kPages * 4096, fresh());
  call(nr::mprotect, area + 4096, 4096 + 10, PROT_READ);
  call(nr::pkey_mprotect, area + 4096, 2 * 4096, PROT_READ | PROT_WRITE, -1);
  call(nr::madvise, area, 2 * 4096, MADV_DONTNEED);
  call(nr::madvise, area, 2 * 4096, MADV_FREE);
  call(nr::madvise, area, 4096, 102);
  call(nr::madvise, area, 4096, MADV_WIPEONFORK);
  call(nr::madvise, area, 4096, MADV_KEEPONFORK);
  call(nr::munmap, area + 4 * 4096, 4096);
  call(nr::madvise, area, kPages * 4096, MADV_DONTNEED);
  call(nr::mprotect, area, kPages * 4096, PROT_READ);
  call(nr::munmap, area + 1, 4096);
  uint8_t* second = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  second = reinterpret_cast<uint8_t*>(
      call(nr::mremap, second, kPages * 4096, 3 * kPages * 4096, MREMAP_MAYMOVE, 0));
  std::memset(second, 3, 4096);
  call(nr::mremap, second, 3 * kPages * 4096, kPages * 4096, 0, 0);
  uint8_t* target = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  call(nr::mremap, second, kPages * 4096, kPages * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, target);
  uint8_t* kept = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  std::memset(kept, 4, 4096);
  call(nr::mremap, kept, kPages * 4096, kPages * 4096, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
  const long file = call(nr::memfd_create, "mapped", 0);
  call(nr::ftruncate, file, kPages * 4096);
  uint8_t* shared = map(MAP_SHARED, static_cast<int>(file));
  std::memset(shared, 9, 3 * 4096);
  call(nr::remap_file_pages, shared, 4096, 0, 2, 0);
  call(nr::madvise, shared + 4096, 4096, MADV_REMOVE);
  call(nr::mremap, shared + 4096, 0, 4096, MREMAP_MAYMOVE, 0);
  call(nr::msync, shared, 4096, MS_SYNC);
  call(nr::mmap, area, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  call(nr::mmap, area, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE | MAP_ANONYMOUS, -1, 0);
  call(nr::mmap, 0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_GROWSDOWN | MAP_ANONYMOUS,
       -1, 0);
  const long end = call(nr::brk, 0);
  call(nr::brk, end + 10000);
  call(nr::brk, end + 100);
  call(nr::brk, end);
  call(nr::brk, 1);
  call(nr::mlock, target, 4096);
  call(nr::munlock, target, 4096);
  iovec local[2] = {{fresh(), 100}, {g_buffer + 200, 100}};
  iovec remote[1] = {{other(), 150}};
  call(nr::process_vm_readv, getpid(), local, 2, remote, 1, 0);
  fresh();
  call(nr::process_vm_writev, getpid(), remote, 1, local, 2, 0);
  void* pages[3] = {area, target, nullptr};
  call(nr::move_pages, 0, 3, pages, nullptr, fresh(), 0);
  auto* policy = fresh<uint64_t>();
  call(nr::get_mempolicy, policy, policy + 4, 65, 0, 0);
  call(nr::get_mempolicy, policy, policy + 4, 1024, 0, 0);
  call(nr::mseal, target, 4096, 0);
}

void terminals() {
  const long master = call(nr::open, "/dev/ptmx", O_RDWR | O_NOCTTY, 0);
  int unlock = 0;
  call(nr::ioctl, master, TIOCSPTLCK, &unlock);
  call(nr::ioctl, master, TIOCGPTN, fresh());
  const long end = call(nr::ioctl, master, 0x5441, O_RDWR | O_NOCTTY);
  for (const long fd : {master, end}) {
    for (const unsigned long request :
         {0x5401ul, 0x5405ul, 0x540ful, 0x5411ul, 0x5413ul, 0x5415ul, 0x5419ul, 0x541bul, 0x541eul,
          0x5424ul, 0x5429ul, 0x802c542aul, 0x80045432ul, 0x80045438ul, 0x80045439ul, 0x80045440ul,
          0x5456ul, 0x545dul}) {
      call(nr::ioctl, fd, request, fresh());
    }
  }
  call(nr::write, master, "typed\n", 6);
  call(nr::read, end, fresh(), 100);
  call(nr::read, master, fresh(), 100);
}

// What the table refuses; the recorder answers.
void refused() {
  for (const Syscall& row : all()) {
    if (row.call_class != Class::kRefused) continue;
    call(row.number, fresh(), g_other, g_buffer, g_other, g_buffer, g_other);
  }
}

}  // namespace

int exotic_calls() {
  char path[] = "/tmp/rchk-exotic-XXXXXX";
  close(mkstemp(path));
  files(path);
  processes();
  children();
  times();
  signals();
  sockets();
  options();
  polling();
  ipc();
  memory();
  terminals();
  refused();
  return 0;
}

}  // namespace rchk::syscalls::test
