#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/registers.h"
#include "base/types.h"
#include "snapshot/address_space.h"
#include "snapshot/page_recorder.h"

namespace rchk::trace {

using snapshot::FileBacking;
using snapshot::FileId;
using snapshot::Mapping;

// Bytes that the kernel, not the guest, put into the guest's memory.
struct MemoryWrite {
  GuestAddress address;
  Bytes bytes;
  bool operator==(const MemoryWrite&) const = default;
};

// What a system call did to the address space, with the kernel's choices made explicit, so that
// a replay does the same without looking at arguments. Applied in order, before memory writes.
struct MapChange {
  Mapping mapping;  // placed with MAP_FIXED; file contents by FileId
  bool operator==(const MapChange&) const = default;
};
struct UnmapChange {
  AddressRange range;
  bool operator==(const UnmapChange&) const = default;
};
struct ProtectChange {
  AddressRange range;
  uint8_t protection = 0;
  bool operator==(const ProtectChange&) const = default;
};
// mremap: `from` became `to`; the kept part has its contents moved. `keep_old` is
// MREMAP_DONTUNMAP: the old range stays mapped and reads as zero (or the file again).
struct RemapChange {
  AddressRange from;
  AddressRange to;
  bool keep_old = false;
  bool operator==(const RemapChange&) const = default;
};
// madvise with MADV_DONTNEED and its kin: the range reads as fresh again.
struct DiscardChange {
  AddressRange range;
  bool operator==(const DiscardChange&) const = default;
};
using AddressSpaceChange =
    std::variant<MapChange, UnmapChange, ProtectChange, RemapChange, DiscardChange>;

struct Resumed;

// The program as execve left it: everything that a replay starts from. Event 0 is one; each
// later execve is another.
struct ExecEvent {
  std::string executable;             // absolute path as the kernel ran it
  std::vector<Mapping> mappings;      // vvar and vsyscall are left out
  std::vector<MemoryWrite> contents;  // where memory differs from the files, whole pages
  Registers registers;
  ExtendedState extended_state;
  Bytes auxv;                      // as the guest sees it
  GuestAddress brk;                // the initial program break
  int32_t pid = 0;                 // of the recorded process
  uint64_t stack_limit_bytes = 0;  // RLIMIT_STACK, how far the stack may grow; 0 if not known
  // Where history in front of it was dropped: no execve, but the program as it was where what is
  // kept begins (snapshot.h). Readers make such events; they are not written as events.
  std::shared_ptr<const Resumed> resumed;
  bool operator==(const ExecEvent&) const = default;
};

// A stream of the guest's that this call wrote to, so that a replay can repeat it.
enum class OutputStream : uint8_t { kNone = 0, kStdout = 1, kStderr = 2 };

struct SyscallEvent {
  int32_t number = 0;
  Registers before;  // pc at the syscall instruction, rax the number
  Registers after;   // pc behind it
  std::vector<AddressSpaceChange> changes;
  std::vector<MemoryWrite> writes;
  OutputStream output = OutputStream::kNone;
  Bytes output_bytes;  // what reached the stream, in order; empty for kNone
  // What the call put into the vector registers (rt_sigreturn); empty: it left them alone.
  ExtendedState extended_state;
  bool operator==(const SyscallEvent&) const = default;
};

enum class TrappedInstruction : uint8_t {
  kCpuid = 0,
  kRdtsc = 1,
  kRdtscp = 2,
  kRdrand = 3,
  kRdseed = 4,
};

// An instruction whose result the recorder supplied.
struct TrapEvent {
  TrappedInstruction instruction = TrappedInstruction::kCpuid;
  Registers before;  // pc at the instruction
  Registers after;   // pc behind it
  bool operator==(const TrapEvent&) const = default;
};

// A checksum of a run of the guest's memory at an event.
struct MemoryChecksum {
  AddressRange range;
  uint64_t xxh3 = 0;  // XXH3_64bits of the contents
  bool operator==(const MemoryChecksum&) const = default;
};

using PageContents = snapshot::PageRun;

// Where in a task's execution something happened that its instructions do not bring about.
enum class Place : uint8_t {
  // At the first point whose state matches: registers, extended state, every page in `dirty`, and
  // `checksums` of others. Together they are all that were written since the task's last event (or
  // more).
  kByState = 0,
  kAtFault = 1,  // the instruction at the registers' pc raises it, in a replay as well
  kAtEvent = 2,  // no instruction of the task has run since its last event
  // At the task's next system call: it stands at the instruction, and the call has not begun. Or,
  // for a switch or an end, it has begun and blocks, which looks the same to the guest.
  kAtCall = 3,
  // As kByState, where the pages are those that the page snapshot behind the event counts as
  // touched. A switch only, of the one task that uses its memory: where a recording has no such
  // snapshot (it was cut off, or a copy was lost) the event counts as kAtEvent, which no other task
  // can tell.
  kBySnapshot = 4,
};

// What the kernel did to let a signal's handler run, with the task at the handler's entry.
struct HandlerEntry {
  Registers registers;
  ExtendedState extended_state;
  std::vector<MemoryWrite> frame;  // what it put onto the stack
  bool operator==(const HandlerEntry&) const = default;
};

// A signal that reached a task of the guest.
struct SignalEvent {
  int32_t number = 0;
  Bytes siginfo;  // struct siginfo, 128 bytes
  Place place = Place::kByState;
  bool fatal = false;  // an ExitEvent follows
  Registers registers;
  ExtendedState extended_state;           // kByState only
  std::vector<PageContents> dirty;        // kByState only
  std::vector<MemoryChecksum> checksums;  // kByState only
  std::optional<HandlerEntry> handler;    // unless it is fatal
  bool operator==(const SignalEvent&) const = default;
};

// A task stopped here and another one ran. No event says that it goes on: its next event does.
struct SwitchEvent {
  Place place = Place::kAtCall;  // kAtCall, kByState or kBySnapshot
  Registers registers;
  ExtendedState extended_state;           // kByState and kBySnapshot only
  std::vector<PageContents> dirty;        // kByState only
  std::vector<MemoryChecksum> checksums;  // kByState only
  bool operator==(const SwitchEvent&) const = default;
};

enum class SpawnKind : uint8_t {
  kThread = 0,  // of the same process
  kVfork = 1,   // a process that uses its parent's memory until it executes a program or ends
  kFork = 2,    // a process with a copy of its parent's memory: `Event::space` is a new one
};

// The first event of a new task, behind the parent's call that made it (kVfork: behind the
// SwitchEvent of it). Its extended state is the parent's.
struct SpawnEvent {
  Tid parent;
  uint32_t parent_space = 0;
  int32_t pid = 0;  // the process that it belongs to: its own tid unless kThread
  SpawnKind kind = SpawnKind::kThread;
  Registers registers;              // behind the system call instruction
  std::vector<MemoryWrite> writes;  // by the kernel, in the new task's memory (CLONE_CHILD_SETTID)
  bool operator==(const SpawnEvent&) const = default;
};

// The end of a task whose address space others go on using: a thread, or a child of vfork.
struct TaskEndEvent {
  Place place = Place::kAtCall;  // kAtCall or kAtEvent
  int32_t status = 0;            // as waitpid(2) tells it
  Registers registers;
  std::vector<MemoryWrite> writes;  // by the kernel, behind its end (robust futexes, cleared tid)
  bool operator==(const TaskEndEvent&) const = default;
};

// Why a recording holds no more.
enum class ExitReason : uint8_t {
  kExited = 0,           // exit or exit_group; `status` is the exit status
  kKilled = 1,           // by signal number `status`
  kRecorderStopped = 2,  // the guest went on without being recorded; `message` says why
};

// Where a recording ends.
enum class ExitPlace : uint8_t {
  kAtCall = 0,   // at the system call that `registers` stands at, which has not begun
  kAtEvent = 1,  // where the event before it left the guest: no instruction has run since
  kUnknown = 2,  // somewhere behind the event before it; `registers` and `memory` say nothing
};

// The end of a process with its address space, or of what is known of it. `memory` is how it was
// at that place. Of the whole recording, if the process is the first one.
struct ExitEvent {
  ExitReason reason = ExitReason::kExited;
  int32_t status = 0;
  bool core_dumped = false;
  std::string message;
  Registers registers;
  std::vector<MemoryChecksum> memory;  // every readable mapping, in runs of at most 1 MiB; or none
  ExitPlace place = ExitPlace::kAtCall;
  bool operator==(const ExitEvent&) const = default;
};

// Memory checksums in the middle: a check, nothing to apply. Sits right behind another event.
struct ChecksumEvent {
  Registers registers;
  std::vector<MemoryChecksum> memory;
  bool operator==(const ChecksumEvent&) const = default;
};

// What came to the memory of a task otherwise than by a call of its own: another process stored
// into it, or changed a file that is mapped there; or a fork did not copy it as it was. No
// instruction of the task has run since its last event.
struct MemoryEvent {
  std::vector<AddressSpaceChange> changes;
  std::vector<MemoryWrite> writes;
  bool operator==(const MemoryEvent&) const = default;
};

using EventBody = std::variant<ExecEvent, SyscallEvent, TrapEvent, SignalEvent, ChecksumEvent,
                               ExitEvent, SwitchEvent, SpawnEvent, TaskEndEvent, MemoryEvent>;

struct Event {
  uint64_t time_ns = 0;  // CLOCK_MONOTONIC since the recording began
  EventBody body;
  Tid tid;  // the task whose event it is
  // The address space in which it happened, or which it begins: numbered from 0 across the
  // recording, and never the same number again for another one.
  uint32_t space = 0;
  bool operator==(const Event&) const = default;
};

// The path, and the mapping's name, of memory that is shared without a file, where a beginning
// gives it an identity (docs/notes/flight-recorder.md). The recorder takes checksums of it.
inline constexpr const char* kSharedMemoryName = "(shared memory)";

// The contents of a file that was mapped, as it was when it was mapped.
struct FileInfo {
  FileId id;
  std::string path;
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t mtime_ns = 0;
  uint64_t size_bytes = 0;
};

// What CPUID answered on the recording machine.
struct CpuidLeaf {
  uint32_t leaf = 0, subleaf = 0;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  bool operator==(const CpuidLeaf&) const = default;
};

// Facts about a recording that do not change while it is made.
struct RecordingInfo {
  std::string rchk_version;
  std::string kernel_release;
  std::string hostname;
  int64_t start_unix_ns = 0;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::string working_directory;
  int32_t pid = 0;
  uint64_t xcr0 = 0;           // XGETBV with ecx = 0
  uint32_t processor_id = 0;   // what RDPID answered on the core the guest ran on
  bool cpuid_trapped = false;  // CPUID appears as TrapEvents
  bool tsc_trapped = false;
  std::vector<CpuidLeaf> cpuid;  // as the guest saw it
};

}  // namespace rchk::trace
