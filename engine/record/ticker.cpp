#include "engine/record/ticker.h"

#include <csignal>

#include <sys/syscall.h>
#include <unistd.h>

namespace rchk::record {

namespace {

int signal_number() { return SIGRTMAX - 3; }

}  // namespace

bool Ticker::open() {
  if (open_) return true;
  struct sigaction action {};
  action.sa_handler = [](int) {};
  sigaction(signal_number(), &action, &old_action_);
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, signal_number());
  pthread_sigmask(SIG_UNBLOCK, &mask, nullptr);
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = signal_number();
  event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
  open_ = timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
  if (!open_) sigaction(signal_number(), &old_action_, nullptr);
  return open_;
}

void Ticker::set_period(uint64_t period_ns) {
  constexpr uint64_t kNsPerSecond = 1'000'000'000;
  if (period_ns == period_ns_ || !open()) return;
  period_ns_ = period_ns;
  const timespec period{static_cast<time_t>(period_ns / kNsPerSecond),
                        static_cast<long>(period_ns % kNsPerSecond)};
  const itimerspec setting{period, period};
  timer_settime(timer_, 0, &setting, nullptr);
}

void Ticker::close() {
  if (!open_) return;
  timer_delete(timer_);
  sigaction(signal_number(), &old_action_, nullptr);
  open_ = false;
  period_ns_ = 0;
}

}  // namespace rchk::record
