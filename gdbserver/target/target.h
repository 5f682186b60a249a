#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/registers.h"
#include "base/result.h"
#include "base/types.h"
#include "gdbserver/target/stop.h"
#include "gdbserver/target/xsave_layout.h"

// What gdb and lldb may ask of a debuggee, in terms that know nothing of packets. `Target` is
// what every debuggee has; each feature that one may lack is an interface of its own, which the
// target returns or not, so that what the server offers to a debugger cannot be a lie.
//
// Signal numbers are Linux's. Every call comes from one thread, and none while resume() runs.
namespace rchk::target {

struct ThreadInfo {
  Tid tid;
  std::string name;  // may be empty
};

// What a running target asks of the session that resumed it.
class RunControl {
 public:
  virtual ~RunControl() = default;
  // True once the debugger wants the target to stop: resume() then returns `Interrupted` soon.
  // A system call (poll); ask about every millisecond, not more often.
  virtual bool interrupted() = 0;
  // Shows text to the user at once: the guest's own output and rchk's notes. Any bytes.
  virtual void console(std::string_view text) = 0;
};

class MemoryMap;
class AuxiliaryVector;
class ExecutableFile;
class Siginfo;
class Libraries;
class Monitor;
class Restart;
class SignalPolicy;
class SyscallCatching;
class Allocator;
class EmbeddedFiles;
class Family;

// Breakpoints and watchpoints of one process.
class StopPointHolder {
 public:
  virtual ~StopPointHolder() = default;
  // Puts a breakpoint or watchpoint in, or changes the conditions of the one already there.
  // kUnsupported says that its kind is not to be had. Memory reads never show breakpoints.
  virtual Result<void> insert(const StopPoint& point) = 0;
  // Takes it out; one that is not there is no error.
  virtual Result<void> remove(StopPointKind kind, AddressRange range) = 0;
};

// One process.
class Target : public StopPointHolder {
 public:
  // The process that the debugger sees, and its live threads; the first one is the leader. Ids
  // are never 0, which means "any" in the protocol, and stay the same for the target's life.
  virtual Tid process() const = 0;
  virtual std::vector<ThreadInfo> threads() = 0;
  // True if rchk came to a program that ran already: leaving it then means to detach.
  virtual bool was_attached() const { return false; }

  // Where and why the target stands now. Cheap; nothing is run. Right after connecting it is
  // what `?` answers, usually `SignalStop{SIGTRAP}` at the program's first instruction.
  virtual Stop current_stop() = 0;

  // Writes in the past open a diversion; the recording never changes.
  virtual Result<Registers> read_registers(Tid thread) = 0;
  virtual Result<void> write_registers(Tid thread, const Registers& registers) = 0;
  // Empty when unknown: the debugger then sees these registers as unavailable.
  virtual Result<ExtendedState> read_extended_state(Tid thread) = 0;
  virtual Result<void> write_extended_state(Tid thread, const ExtendedState& state) = 0;
  // How to read extended states, and which registers there are. Asked once.
  virtual XsaveLayout xsave_layout() const { return XsaveLayout::of_this_machine(); }

  // Copies memory, and returns how many bytes from `address` on were readable.
  virtual size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) = 0;
  // All or nothing. Must succeed on pages that the guest itself may not write.
  virtual Result<void> write_memory(GuestAddress address, ByteView bytes) = 0;

  // Runs until something in StopEvent happens. An error leaves the target where it was before,
  // or as near as can be: the session shows its text to the user and reports a stop.
  virtual Result<Stop> resume(const ResumeRequest& request, RunControl& control) = 0;
  // Whether resume() takes Direction::kBackward.
  virtual bool can_go_back() const = 0;

  // The end of the session. After kill() the program is gone; after detach() it goes on by
  // itself where it is live, and a replay is just closed. No call but the destructor follows.
  virtual Result<void> kill() = 0;
  virtual Result<void> detach() = 0;

  // Features; null where the target lacks them. The answers stay the same for the target's life.
  virtual MemoryMap* memory_map() { return nullptr; }
  virtual AuxiliaryVector* auxiliary_vector() { return nullptr; }
  virtual ExecutableFile* executable_file() { return nullptr; }
  virtual Siginfo* siginfo() { return nullptr; }
  virtual Libraries* libraries() { return nullptr; }
  virtual Monitor* monitor() { return nullptr; }
  virtual Restart* restart() { return nullptr; }
  virtual SignalPolicy* signal_policy() { return nullptr; }
  virtual SyscallCatching* syscall_catching() { return nullptr; }
  virtual Allocator* allocator() { return nullptr; }
  virtual EmbeddedFiles* embedded_files() { return nullptr; }
  virtual Family* family() { return nullptr; }
};

// The processes of a session, where there can be more than one: at first the target that has the
// family, and then those that it makes and that the debugger keeps. Each is a target of its own.
class Family {
 public:
  virtual ~Family() = default;

  // Which new processes to report (StopEvent: Forked); none before this is called.
  virtual void report_forks(bool forks, bool vforks) = 0;

  // Those that the debugger is attached to, by pid, in the order in which it came to them.
  virtual std::vector<Tid> processes() = 0;
  // One of them, or null. Valid until the session ends.
  virtual Target* process(Tid pid) = 0;
  // What it is without opening its history, which costs something.
  virtual std::vector<ThreadInfo> threads(Tid pid) = 0;
  // Its breakpoints; null if there is none of that pid.
  virtual StopPointHolder* stop_points(Tid pid) = 0;
  // Takes a process out of the session. REQUIRES: it is not the only one.
  virtual Result<void> detach(Tid pid) = 0;
  // Takes one in again that was taken out, at its beginning.
  virtual Result<Target*> attach_again(Tid pid) = 0;

  // Runs those in `pids` until something happens in one of them; the others stay where they are.
  // Of several, the one moves that comes next in the recording. A step is only of the process in
  // `stepped`.
  struct Request {
    ResumeRequest run;
    Tid stepped;  // whose thread is named in `run`
    std::vector<Tid> pids;
  };
  virtual Result<Stop> resume(const Request& request, RunControl& control) = 0;
};

// A stretch of the address space with the same attributes, mapped or not.
struct MemoryRegion {
  AddressRange range;
  bool mapped = false;
  bool readable = false, writable = false, executable = false;
  std::string name;  // a path, "[stack]", "[heap]" or empty
};

class MemoryMap {
 public:
  virtual ~MemoryMap() = default;
  // The region that holds `address`; in a gap, the whole gap with `mapped` false.
  virtual MemoryRegion region_at(GuestAddress address) = 0;
};

class AuxiliaryVector {
 public:
  virtual ~AuxiliaryVector() = default;
  // As the guest sees it, ending with AT_NULL.
  virtual Result<Bytes> auxiliary_vector_bytes() = 0;
};

class ExecutableFile {
 public:
  virtual ~ExecutableFile() = default;
  // The absolute path of the program's file.
  virtual Result<std::string> executable_path() = 0;
};

// `struct siginfo` of the signal that the thread stands at.
class Siginfo {
 public:
  virtual ~Siginfo() = default;
  // 128 bytes; an error when the thread does not stand at a signal.
  virtual Result<Bytes> read_siginfo(Tid thread) = 0;
  virtual Result<void> write_siginfo(Tid thread, ByteView siginfo) = 0;
};

// One entry of the dynamic linker's list, as <link.h> has it in struct link_map.
struct Library {
  std::string path;
  GuestAddress link_map;
  uint64_t load_bias = 0;
  GuestAddress dynamic_section;
};

struct LibraryList {
  std::optional<GuestAddress> main_link_map;  // of the program itself, which is no entry
  std::vector<Library> entries;
};

class Libraries {
 public:
  virtual ~Libraries() = default;
  virtual Result<LibraryList> library_list() = 0;
};

// `monitor ...` commands. The session has a few of its own (docs/gdb-protocol.md) and gives the
// target all others.
class Monitor {
 public:
  virtual ~Monitor() = default;
  // Does a command and returns what to show. A command that moves the target says so in
  // `moved`: the debugger must then be told to drop what it knows (gdb: flushregs). One that takes
  // long asks `control` now and then.
  struct Answer {
    std::string text;
    bool moved = false;
  };
  virtual Result<Answer> monitor_command(std::string_view command, RunControl& control) = 0;
};

// `run`: back to the start of the recording.
class Restart {
 public:
  virtual ~Restart() = default;
  virtual Result<Stop> restart_program() = 0;
};

// Which signals the target need not stop for; replaces what was said before.
class SignalPolicy {
 public:
  virtual ~SignalPolicy() = default;
  virtual void set_silent_signals(const std::vector<int>& signals) = 0;
};

class SyscallCatching {
 public:
  virtual ~SyscallCatching() = default;
  // Which system calls stop the target at entry and at return: none when null, all when empty.
  virtual void set_caught_syscalls(const std::optional<std::vector<int>>& numbers) = 0;
};

// Memory for a debugger's own use, in a diversion (lldb's expressions).
class Allocator {
 public:
  virtual ~Allocator() = default;
  // `protection`: PROT_ bits.
  virtual Result<GuestAddress> allocate(uint64_t size_bytes, int protection) = 0;
  virtual Result<void> deallocate(GuestAddress address) = 0;
};

// Files whose contents the recording holds. They come before the machine's own files, which may
// have changed since or be those of another machine.
class EmbeddedFiles {
 public:
  virtual ~EmbeddedFiles() = default;
  // The contents of the file that the guest knew by `path`, valid for the target's life;
  // nothing when the recording has none.
  virtual std::optional<ByteView> embedded_file(std::string_view path) = 0;
  // Where a symbolic link leads that is the recording's own; nothing if this machine's counts.
  virtual std::optional<std::string> embedded_link(std::string_view /*path*/) {
    return std::nullopt;
  }
};

}  // namespace rchk::target
