#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "gdbserver/protocol/file_service.h"
#include "gdbserver/protocol/packet_stream.h"
#include "gdbserver/protocol/parse.h"
#include "gdbserver/protocol/processes.h"
#include "gdbserver/protocol/progress_report.h"
#include "gdbserver/protocol/register_map.h"
#include "gdbserver/protocol/thread_locals.h"
#include "gdbserver/target/target.h"

namespace rchk::protocol {

// How a session ended.
enum class SessionEnd : uint8_t {
  kDisconnected,  // the debugger went away without a word: the target is as it was
  kDetached,      // Target::detach() was called
  kKilled,        // Target::kill() was called
  kExited,        // the program is gone for good, and the debugger was told so
};

// What the debugger said of itself. gdb and lldb share a protocol and differ in its details.
struct Client {
  bool multiprocess = false;     // thread-ids as pPID.TID
  bool software_breaks = false;  // knows swbreak and hwbreak in stop replies
  bool hardware_breaks = false;
  bool exec_events = false;
  bool fork_events = false;
  bool vfork_events = false;
  bool thread_suffix = false;  // lldb: `;thread:ID;`, and signals by their Linux numbers
  bool threads_in_stop_reply = false;
  bool raw_memory = false;  // lldb before 20: x replies without the b in front
};

// What the next resume is turned into, whatever the debugger asks for.
struct Armed {
  enum class Kind : uint8_t {
    kBackward,   // the same, but backward
    kRangeBack,  // steps back until pc is outside of `range`
    kRefresh,    // nothing runs: the stop is reported once more
  };
  Kind kind = Kind::kBackward;
  AddressRange range;
};

// Reverse execution for debuggers and commands that have no packet for it.
struct ReverseControl {
  bool mode = false;           // all resumes go back (monitor reverse-mode on)
  std::optional<Armed> armed;  // the next one only (monitor arm ...)
  // lldb interrupts a bc to send a packet, and goes on with a bare c: that one goes back too, as
  // long as no register was read in between.
  bool interrupted_backward = false;
  // The last resume went back because of `mode` or `armed`: the debugger does not know.
  bool unknown_to_debugger = false;
};

// A thread, or none: whichever fits.
struct ChosenThread {
  Tid process;
  Tid thread;
};

// All that handlers share: one per session.
struct Context {
  Context(target::Target& the_target, PacketStream& the_stream)
      : processes(the_target),
        stream(the_stream),
        progress(the_stream),
        registers(the_target.xsave_layout()),
        files([this](std::string_view path) { return embedded_file(path); },
              [this](std::string_view path) { return embedded_link(path); }) {}

  // Of the current process, the one that memory and registers are asked of (Hg).
  target::Target& target() { return processes.target(); }
  // The file that a process knew by that name, the current process's before others'.
  std::optional<ByteView> embedded_file(std::string_view path);
  std::optional<std::string> embedded_link(std::string_view path);
  // What `look` finds first: in the files of the current process, then of the others.
  template <typename Look>
  auto look_in_files(Look look) -> decltype(look(std::declval<target::EmbeddedFiles&>()));
  // The thread that register packets are about: lldb's suffix, else the one chosen by Hg.
  Tid thread_for(const std::optional<ThreadId>& suffix);
  Result<RegisterValues> read_values(Tid thread);
  // As the debugger writes thread-ids.
  void append_thread_id(std::string& out, Tid process, Tid thread) const;
  // Of the current process.
  void append_thread_id(std::string& out, Tid thread) const {
    append_thread_id(out, processes.current(), thread);
  }
  bool has_thread(Tid thread) { return processes.has_thread(processes.current(), thread); }
  // Makes the process current that a thread-id names. False if there is none such.
  bool select_process(const ThreadId& id);
  // Takes a process out of the session. REQUIRES: it is not the only one.
  Result<void> detach_process(Tid pid);
  // Where a stop was: its process is the current one, and its thread, from then on.
  void note_stop(const target::Stop& stop);
  // Where a monitor command has moved the program to. The debugger does not hear of it, and goes on
  // to mean the thread that it has chosen last.
  void note_move();
  target::Stop current_stop();
  int signal_number(int linux_signal) const;
  int linux_signal(int number) const;

  Processes processes;
  PacketStream& stream;
  ProgressReport progress;
  RegisterMap registers;
  FileService files;
  std::map<Tid, ThreadLocals> thread_locals;  // by process
  Client client;
  ReverseControl reverse;
  target::Stop last_stop;
  bool moved_by_monitor = false;  // by the last command
  Tid general_thread;             // Hg, of the current process; 0 for any
  // The last one that Hg or T asked for, or that a stop was of: where gdb has stepped one thread
  // off its breakpoint, it asks whether the other one is alive that it goes on to step, and no
  // more.
  Tid meant_thread;
  ChosenThread resume_thread;  // Hc
  std::optional<SessionEnd> end;
  bool extended = false;           // `target extended-remote`
  bool waits_for_restart = false;  // killed in extended mode: a vRun may follow
  Tid killed;                      // the same, where other processes remain
  std::map<target::StopPointKind, bool> accepted_kinds;  // some such stop point was inserted
  std::map<uint64_t, RegisterValues> saved_registers;
  uint64_t next_saved = 1;
  // The object that a qXfer is reading, so that all its parts are of one state.
  std::string transfer_object;
  std::string transfer_contents;
  Bytes scratch;
};

}  // namespace rchk::protocol
