#include "engine/record/tsc_mirror.h"

#include <csignal>
#include <ctime>

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rchk::record {

namespace {

// Lets the faulting instruction run again: with the counter if that is what it wanted, else into
// the default action.
void on_fault(int signal, siginfo_t* info, void*) {
  int mode = PR_TSC_ENABLE;
  if (info->si_code == SI_KERNEL && prctl(PR_GET_TSC, &mode) == 0 && mode == PR_TSC_SIGSEGV) {
    prctl(PR_SET_TSC, PR_TSC_ENABLE);
    return;
  }
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(signal, &action, nullptr);
}

}  // namespace

uint64_t monotonic_ns() {
  timespec now{};
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void TscMirror::enter() {
  if (on_) return;
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  if (sigaction(SIGSEGV, &action, &old_action_) != 0) return;
  on_ = true;
  prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
}

void TscMirror::leave() {
  if (!on_) return;
  on_ = false;
  prctl(PR_SET_TSC, PR_TSC_ENABLE);
  sigaction(SIGSEGV, &old_action_, nullptr);
}

TscMirror::Pause::Pause(TscMirror& mirror) : mirror_(mirror), was_on_(mirror.on_) {
  mirror_.leave();
}

TscMirror::Pause::~Pause() {
  if (was_on_) mirror_.enter();
}

}  // namespace rchk::record
