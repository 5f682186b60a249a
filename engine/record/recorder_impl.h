#pragma once

#include <set>
#include <string>
#include <unordered_set>

#include "engine/record/cpu.h"
#include "engine/record/files.h"
#include "engine/record/image.h"
#include "engine/record/output_streams.h"
#include "engine/record/process.h"
#include "engine/record/recorder.h"
#include "engine/record/tsc_mirror.h"
#include "engine/syscalls/outputs.h"
#include "engine/syscalls/syscall.h"
#include "engine/tracee/xsavec.h"

namespace rchk::record {

// A system call between its entry and its exit.
struct PendingCall {
  Registers before;  // as SyscallEvent::before
  syscalls::EntryState entry;
  // The call does not reach the kernel, and the guest gets this result.
  std::optional<int64_t> answer;
  bool breakpoints_were_in = false;

  // For a call that was interrupted and is made again, unnoticed by the guest: the registers that
  // it is made again with, and a time-out in the guest's memory that is shorter meanwhile.
  bool continued = false;
  Registers again;
  uint64_t entered_ns = 0;
  std::optional<trace::MemoryWrite> time_out;  // the guest's own
  // What is where a sleep that is interrupted says how long it had to go on.
  std::optional<trace::MemoryWrite> remainder;
};

// The recorder's state and loop. Its parts: recorder.cpp (start, the debugger's requests),
// run_loop.cpp, call_stops.cpp, signal_stops.cpp, ending.cpp.
class Recorder::Impl {
 public:
  Impl(RecorderOptions options, trace::EventSink& sink, tracee::Tracee tracee);
  ~Impl();

  // The program is behind its execve, and still in it.
  Result<void> take_image();

  Result<RecorderStop> run(const RunLimits& limits);
  Result<RecorderStop> stop_recording(std::string_view reason);
  Result<tracee::StopStatus> wait_for_guest();
  Result<ForkSnapshot> fork_snapshot();

  Result<Registers> registers() const;
  Result<void> require_guest() const;
  Breakpoints breakpoints_;
  Watchpoints watchpoints_;
  tracee::Tracee tracee_;
  snapshot::AddressSpace space_;
  OutputStreams streams_;
  uint64_t event_count_ = 0;
  std::vector<int> allowed_cpus_;  // before the recorder pinned itself

 private:
  using MaybeStop = std::optional<RecorderStop>;

  // run_loop.cpp
  Result<RecorderStop> run_guest(const RunLimits& limits);
  Result<RecorderStop> step(const RunLimits& limits);
  Result<void> resume(tracee::ResumeMode mode);
  Result<tracee::StopStatus> wait_for_stop(const RunLimits& limits);
  Result<void> interrupt_if_asked(const RunLimits& limits);
  // The loop's one round: lets the guest run to its next stop and deals with that.
  Result<MaybeStop> advance(tracee::ResumeMode mode, const RunLimits& limits);
  Result<MaybeStop> handle(const tracee::StopStatus& stop, const RunLimits& limits);
  Result<RecorderStop> recover(const Error& error);

  // call_stops.cpp
  Result<MaybeStop> on_call_entry(const RunLimits& limits);
  Result<MaybeStop> on_call_exit(const RunLimits& limits);
  // What the recorder answers itself; also the errno of what is refused.
  std::optional<int64_t> own_answer(const syscalls::Call& call) const;
  // Why the recording cannot go on with this call; empty if it can.
  std::string obstacle(const syscalls::Call& call, const Registers& registers);
  Result<void> take_call_back();
  Result<bool> restart_interrupted(const Registers& after);
  void save_remainder(PendingCall& call);
  Result<void> shorten_time_out(PendingCall& call);
  Result<void> restore_time_out(const PendingCall& call, Registers& after);
  Result<void> note_pending_signals(const PendingCall& call, int64_t result);
  Result<void> add_writes(const PendingCall& call, const Registers& after,
                          trace::SyscallEvent& event);
  void add_output(const PendingCall& call, int64_t result, trace::SyscallEvent& event);
  Result<void> checksum_if_due(const Registers& registers);

  // signal_stops.cpp
  Result<MaybeStop> on_signal(int signal, const RunLimits& limits);
  Result<MaybeStop> on_trap(const siginfo_t& info, Registers registers, const RunLimits& limits,
                            bool& ours);
  Result<bool> emulate_trapped(const Registers& before);
  // xsavec_hooks.cpp: carries out the XSAVEC at `registers.pc()`, a hook.
  Result<MaybeStop> perform_hook(Registers registers, const RunLimits& limits);
  void set_hooks(const trace::ExecEvent& image);
  Result<MaybeStop> on_fatal_signal(const siginfo_t& info, const Registers& registers,
                                    const RunLimits& limits);
  Result<void> add_signal_event(const siginfo_t& info, const Registers& registers, bool fatal);

  // ending.cpp
  Result<MaybeStop> on_exit_event();
  Result<RecorderStop> finish(const tracee::StopStatus& stop);
  Result<std::vector<trace::MemoryChecksum>> checksum_memory();
  // After a remote system call at a signal stop: brings the guest back to one of the same signal.
  Result<void> restore_signal_stop();

  Result<void> append(trace::EventBody body);
  void say(std::string_view text);
  void say_once(const std::string& text);
  uint64_t now_ns() const;

  RecorderOptions options_;
  trace::EventSink& sink_;
  FileStore files_;
  Confinement confinement_;
  bool trap_cpuid_ = false;
  tracee::Xsavec xsavec_ = tracee::Xsavec::of_this_machine();
  TscMirror tsc_mirror_;  // on while run() lets the guest run freely
  uint64_t start_ns_ = 0;

  std::optional<PendingCall> call_;
  // A call that was interrupted and that the guest is about to make again. Until then it counts as
  // not begun.
  std::optional<PendingCall> restarted_;
  uint64_t calls_done_ = 0;
  GuestAddress brk_;
  std::unordered_set<GuestAddress> known_call_sites_;

  // At a signal stop: the signal, which run() delivers.
  std::optional<siginfo_t> signal_;
  bool signal_reported_ = false;    // as kSignal
  bool exit_reported_ = false;      // as kAboutToExit
  SignalSet pending_at_event_ = 0;  // signals that will be delivered before the next instruction
  bool fatal_signal_recorded_ = false;
  bool signal_event_is_last_ = false;  // in the log
  Registers last_registers_;           // at the last event
  bool segv_blocked_ = false;

  bool in_group_stop_ = false;
  bool stepping_ = false;
  Breakpoints step_target_;           // behind a string instruction that is stepped over
  bool interrupt_in_flight_ = false;  // PTRACE_INTERRUPT was sent and no stop has come since
  bool interrupt_wanted_ = false;     // by this run()
  uint64_t next_poll_ns_ = 0;

  uint64_t next_checksum_ns_ = 0;
  bool exit_recorded_ = false;
  std::set<std::string> said_;
  std::optional<RecorderStop> finished_;
  pid_t free_pid_ = -1;  // goes on by itself
};

}  // namespace rchk::record
