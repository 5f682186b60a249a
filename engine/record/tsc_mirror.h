#pragma once

#include <cstdint>

#include <signal.h>

namespace rchk::record {

// Makes RDTSC trap in the recorder's own thread as it does in the guest's, while the two take
// turns. Whether it traps is a bit of CR4, which the kernel writes whenever it switches between
// threads that differ in it (arch/x86/kernel/process.c, __switch_to_xtra); in a virtual machine
// that write costs 10 to 15 us, four times what a ptrace stop costs otherwise.
//
// So while this is on the thread must not read the clock through the vDSO. Should something do so
// all the same, the fault turns this off, and the program goes on more slowly.
class TscMirror {
 public:
  TscMirror() = default;
  ~TscMirror() { leave(); }
  TscMirror(const TscMirror&) = delete;
  TscMirror& operator=(const TscMirror&) = delete;

  void enter();
  void leave();

  // Off while it lives.
  class Pause {
   public:
    explicit Pause(TscMirror& mirror);
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    TscMirror& mirror_;
    bool was_on_;
  };

 private:
  bool on_ = false;
  struct sigaction old_action_ {};
};

// CLOCK_MONOTONIC by a system call, never the vDSO.
uint64_t monotonic_ns();

}  // namespace rchk::record
