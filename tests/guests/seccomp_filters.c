// build: -O1 -pthread -D_GNU_SOURCE
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "tasks.h"

// Filters of a program's own: each action, several filters, who inherits them, who may set them.
#define NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ARGUMENT(i) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[i]))
#define IF_CALL(number, action) \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), BPF_STMT(BPF_RET | BPF_K, (action))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define FILTER(...) \
  (struct sock_filter[]) { __VA_ARGS__ }
#define SET(flags, filter) \
  set_filter((flags), sizeof(filter) / sizeof(struct sock_filter), (filter))

static long set_filter(unsigned flags, size_t count, struct sock_filter* filter) {
  struct sock_fprog program = {(unsigned short)count, filter};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static volatile int trapped, trap_value, trap_call;
static void on_sys(int signal, siginfo_t* info, void* context) {
  ucontext_t* saved = context;
  CHECK(signal == SIGSYS && info->si_code == 1);
  CHECK(info->si_arch == AUDIT_ARCH_X86_64);
  CHECK((long)info->si_call_addr == saved->uc_mcontext.gregs[REG_RIP]);
  CHECK(saved->uc_mcontext.gregs[REG_RAX] == info->si_syscall);
  trapped++, trap_value = info->si_errno, trap_call = info->si_syscall;
  saved->uc_mcontext.gregs[REG_RAX] = 4711;
}

static int ends(void (*function)(void)) {
  pid_t child = forked();
  if (child == 0) function(), _exit(55);
  return status_of(child);
}
static void call_getppid(void) { syscall(SYS_getppid); }
static void call_sched_yield(void) { syscall(SYS_sched_yield); }
static void call_blocked_trap(void) {
  sigset_t set;
  sigemptyset(&set), sigaddset(&set, SIGSYS);
  sigprocmask(SIG_BLOCK, &set, NULL);
  syscall(SYS_getpgid, 0);
}
static void call_ignored_trap(void) { signal(SIGSYS, SIG_IGN), syscall(SYS_getpgid, 0); }
static void strict(void) {
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
  CHECK(write(1, "strict\n", 7) == 7);
  syscall(SYS_getpid);
}
static void strict_exit(void) {
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
  syscall(SYS_exit, 9);
}

static void* killed_alone(void* unused) {
  CHECK(SET(0, FILTER(NUMBER, IF_CALL(SYS_getpgrp, SECCOMP_RET_KILL_THREAD), ALLOW)) == 0);
  syscall(SYS_getpgrp);
  abort();
  return unused;
}

static int go_on;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static void* is_synchronized(void* unused) {
  pthread_mutex_lock(&lock);
  while (!go_on) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  errno = 0;
  CHECK(syscall(SYS_getsid, 0) == -1 && errno == 33);
  return unused;
}

int main(int argc, char** argv) {
  if (argc > 1) {  // kept over execve
    errno = 0;
    CHECK(syscall(SYS_getpriority, 0, 0) == -1 && errno == 77);
    CHECK(prctl(PR_GET_SECCOMP) == 2);
    return 12;
  }
  setvbuf(stdout, NULL, _IONBF, 0);
  CHECK(ends(strict) == 128 + SIGKILL && ends(strict_exit) == 9);
  unsigned action = SECCOMP_RET_TRAP;
  CHECK(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0);
  action = 0x12340000;
  CHECK(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == -1 && errno == EOPNOTSUPP);
  CHECK(prctl(PR_GET_SECCOMP) == 0);

  // What the kernel does not take.
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(set_filter(0, 0, NULL) == -1 && errno == EINVAL);
  CHECK(set_filter(0, 1, (void*)16) == -1 && errno == EFAULT);
  CHECK(SET(0, FILTER(NUMBER)) == -1 && errno == EINVAL);  // no return at the end
  CHECK(SET(0, FILTER(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), ALLOW)) == -1 && errno == EINVAL);
  CHECK(SET(0, FILTER(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), ALLOW)) == -1 && errno == EINVAL);
  CHECK(SET(0, FILTER(BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), ALLOW)) == -1 && errno == EINVAL);
  CHECK(SET(0, FILTER(BPF_STMT(BPF_LD | BPF_MEM, 3), ALLOW)) == -1 && errno == EINVAL);
  CHECK(SET(0, FILTER(BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0), ALLOW)) == -1 && errno == EINVAL);
  CHECK(SET(1 << 20, FILTER(ALLOW)) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_seccomp, 77, 0, NULL) == -1 && errno == EINVAL);

  // Arithmetic: fails with the sum of its first two arguments, at most 4095.
  CHECK(
      SET(0, FILTER(NUMBER, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 1, 0), ALLOW,
                    ARGUMENT(1), BPF_STMT(BPF_MISC | BPF_TAX, 0), BPF_STMT(BPF_ST, 5), ARGUMENT(0),
                    BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0), BPF_STMT(BPF_LDX | BPF_MEM, 5),
                    BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0), BPF_STMT(BPF_ALU | BPF_SUB | BPF_X, 0),
                    BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 77),
                    BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO),
                    BPF_STMT(BPF_RET | BPF_A, 0))) == 0);
  CHECK(prctl(PR_GET_SECCOMP) == 2 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == -1);
  errno = 0;
  CHECK(syscall(SYS_getpriority, 3, 4) == -1 && errno == 84);
  CHECK(syscall(SYS_getpriority, 5000, 4) == -1 && errno == 4095 - 0);

  // Children, programs and threads have them too.
  pid_t child = forked();
  if (child == 0) execl("/proc/self/exe", "again", "yes", (char*)NULL), _exit(1);
  CHECK(status_of(child) == 12);

  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, killed_alone, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(pthread_create(&thread, NULL, is_synchronized, NULL) == 0);
  CHECK(SET(SECCOMP_FILTER_FLAG_TSYNC,
            FILTER(NUMBER, IF_CALL(SYS_getsid, SECCOMP_RET_ERRNO | 33), ALLOW)) == 0);
  pthread_mutex_lock(&lock);
  go_on = 1;
  pthread_cond_signal(&changed);
  pthread_mutex_unlock(&lock);
  CHECK(pthread_join(thread, NULL) == 0);

  // The strictest filter counts; a result of 0 is a success.
  CHECK(SET(0, FILTER(NUMBER, IF_CALL(SYS_getppid, SECCOMP_RET_KILL_PROCESS),
                      IF_CALL(SYS_sched_yield, SECCOMP_RET_KILL_THREAD),
                      IF_CALL(SYS_getpgid, SECCOMP_RET_TRAP | 1234),
                      IF_CALL(SYS_getpriority, SECCOMP_RET_ALLOW),
                      IF_CALL(SYS_nanosleep, SECCOMP_RET_ERRNO),
                      IF_CALL(SYS_getsid, SECCOMP_RET_ERRNO | 34),
                      IF_CALL(SYS_setpgid, SECCOMP_RET_TRACE), ALLOW)) == 0);
  CHECK(syscall(SYS_getpriority, 0, 0) == -1 && errno == 77);
  CHECK(syscall(SYS_getsid, 0) == -1 && errno == 34);
  CHECK(syscall(SYS_nanosleep, NULL, NULL) == 0);
  CHECK(syscall(SYS_setpgid, 0, 0) == -1 && errno == ENOSYS);
  CHECK(ends(call_getppid) == 128 + SIGSYS && ends(call_sched_yield) == 128 + SIGSYS);
  CHECK(ends(call_blocked_trap) == 128 + SIGSYS && ends(call_ignored_trap) == 128 + SIGSYS);
  struct sigaction act = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGSYS, &act, NULL) == 0);
  for (int i = 1; i <= 20; i++) {
    CHECK(syscall(SYS_getpgid, 0) == 4711);
    CHECK(trapped == i && trap_value == 1234 && trap_call == SYS_getpgid);
  }
  CHECK(ends(call_blocked_trap) == 128 + SIGSYS && ends(call_getppid) == 128 + SIGSYS);
  return passed();
}
