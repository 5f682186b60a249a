#pragma once

#include <cstdint>
#include <ctime>

#include <signal.h>

namespace rchk::record {

// Wakes the calling thread out of waitpid now and then: by a signal that does nothing. Restores the
// signal's action at its end. Belongs to the thread that starts it.
class Ticker {
 public:
  Ticker() = default;
  ~Ticker() { close(); }
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

  // Ticks every `period_ns`; 0: not at all.
  void set_period(uint64_t period_ns);
  // Gives the signal back.
  void close();
  bool on() const { return period_ns_ != 0; }

 private:
  bool open();
  bool open_ = false;
  uint64_t period_ns_ = 0;
  timer_t timer_{};
  struct sigaction old_action_ {};
};

}  // namespace rchk::record
