#include "engine/trace/dump.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include <fmt/format.h>

#include "engine/trace/snapshot.h"

namespace rchk::trace {
namespace {

using Out = std::back_insert_iterator<std::string>;

// How much of a run of bytes the detailed form shows.
constexpr size_t kShownBytes = 64;

// Recordings may be hostile: what could steer a terminal is escaped.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (letter == '\n') {
      out += "\\n";
    } else if (letter == '"' || letter == '\\') {
      out += '\\';
      out += letter;
    } else if (byte < 0x20 || byte >= 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += letter;
    }
  }
  return out + '"';
}

std::string quoted(ByteView bytes) {
  const ByteView shown = bytes.first(std::min(bytes.size(), kShownBytes));
  std::string out = quoted({reinterpret_cast<const char*>(shown.data()), shown.size()});
  if (shown.size() < bytes.size()) out += "...";
  return out;
}

// Small numbers are counts and descriptors, large ones addresses and flags; AT_FDCWD and its like
// arrive as 32-bit integers.
std::string number_text(uint64_t number) {
  constexpr uint64_t kSmallNegative32 = 0xfffff000;
  if (number >= kSmallNegative32 && number <= UINT32_MAX) {
    return fmt::format("{}", static_cast<int32_t>(number));
  }
  if (static_cast<int64_t>(number) < 0 && static_cast<int64_t>(number) >= -4096) {
    return fmt::format("{}", static_cast<int64_t>(number));
  }
  return number < 65536 ? fmt::format("{}", number) : fmt::format("{:#x}", number);
}

std::string result_text(uint64_t rax) {
  const auto result = static_cast<int64_t>(rax);
  // The kernel returns errors as -4095 to -1 (include/linux/err.h, MAX_ERRNO).
  if (result >= 0 || result < -4095) return number_text(rax);
  const char* name = strerrorname_np(static_cast<int>(-result));
  return name == nullptr ? fmt::format("{}", result) : fmt::format("{} {}", result, name);
}

std::string signal_text(int number) {
  const char* name = sigabbrev_np(number);
  return name == nullptr ? fmt::format("signal {}", number) : fmt::format("SIG{}", name);
}

std::string protection_text(uint8_t protection) {
  return {(protection & snapshot::kRead) != 0 ? 'r' : '-',
          (protection & snapshot::kWrite) != 0 ? 'w' : '-',
          (protection & snapshot::kExecute) != 0 ? 'x' : '-'};
}

std::string_view name_of(TrappedInstruction instruction) {
  switch (instruction) {
    case TrappedInstruction::kCpuid:
      return "cpuid";
    case TrappedInstruction::kRdtsc:
      return "rdtsc";
    case TrappedInstruction::kRdtscp:
      return "rdtscp";
    case TrappedInstruction::kRdrand:
      return "rdrand";
    case TrappedInstruction::kRdseed:
      return "rdseed";
  }
  return "?";
}

std::string_view name_of(OutputStream stream) {
  switch (stream) {
    case OutputStream::kNone:
      return "none";
    case OutputStream::kStdout:
      return "stdout";
    case OutputStream::kStderr:
      return "stderr";
  }
  return "?";
}

std::string mapping_text(const Mapping& mapping) {
  std::string out = fmt::format("{} {}{}{}", mapping.range, protection_text(mapping.protection),
                                mapping.shared ? "s" : "p", mapping.grows_down ? " grows" : "");
  if (mapping.backing) {
    out += fmt::format(" file {} at {:#x}", mapping.backing->file.value,
                       mapping.backing->offset_bytes);
  }
  if (!mapping.name.empty()) out += ' ' + quoted(mapping.name);
  return out;
}

struct ChangeText {
  std::string operator()(const MapChange& change) const {
    return "map " + mapping_text(change.mapping);
  }
  std::string operator()(const UnmapChange& change) const {
    return fmt::format("unmap {}", change.range);
  }
  std::string operator()(const ProtectChange& change) const {
    return fmt::format("protect {} {}", change.range, protection_text(change.protection));
  }
  std::string operator()(const RemapChange& change) const {
    return fmt::format("remap {} to {}{}", change.from, change.to,
                       change.keep_old ? ", keeping the old" : "");
  }
  std::string operator()(const DiscardChange& change) const {
    return fmt::format("discard {}", change.range);
  }
};

template <typename Runs>
uint64_t total_bytes(const Runs& runs) {
  uint64_t total = 0;
  for (const auto& run : runs) total += run.bytes.size();
  return total;
}

template <typename StateEvent>
std::string dirty_text(const StateEvent& event) {
  uint64_t bytes = total_bytes(event.dirty);
  for (const MemoryChecksum& checksum : event.checksums) bytes += checksum.range.size();
  return bytes == 0 ? "" : fmt::format(", {} dirty pages", bytes / kPageSize);
}

// The part of the line that depends on the kind of event.
struct LineText {
  static std::string_view place_text(Place place) {
    switch (place) {
      case Place::kByState:
        return "";
      case Place::kAtFault:
        return ", synchronous";
      case Place::kAtEvent:
        return ", at the event";
      case Place::kAtCall:
        return ", at the call";
      case Place::kBySnapshot:
        return ", as its page snapshot";
    }
    return "";
  }

  const SyscallNamer& namer;

  std::string operator()(const ExecEvent& event) const {
    if (event.resumed != nullptr) {
      return fmt::format("goes on here: {}, pid {}, {} mappings, {} pages, {} other tasks, pc {}",
                         quoted(event.executable), event.pid, event.mappings.size(),
                         event.resumed->pages.size(), event.resumed->others.size(),
                         event.registers.pc());
    }
    return fmt::format("exec {}, pid {}, {} mappings, {} bytes of contents, pc {}",
                       quoted(event.executable), event.pid, event.mappings.size(),
                       total_bytes(event.contents), event.registers.pc());
  }
  std::string operator()(const SyscallEvent& event) const {
    const Registers& in = event.before;
    std::string out = namer ? namer(event.number) : fmt::format("syscall {}", event.number);
    out += fmt::format("({}, {}, {}, {}, {}, {}) = {}", number_text(in.rdi), number_text(in.rsi),
                       number_text(in.rdx), number_text(in.r10), number_text(in.r8),
                       number_text(in.r9), result_text(event.after.rax));
    if (!event.writes.empty()) {
      out += fmt::format("; wrote {} bytes", total_bytes(event.writes));
      if (event.writes.size() > 1) out += fmt::format(" in {} runs", event.writes.size());
    }
    for (const AddressSpaceChange& change : event.changes) {
      out += "; " + std::visit(ChangeText{}, change);
    }
    if (!event.extended_state.empty()) out += "; vector registers";
    if (event.output != OutputStream::kNone) {
      out += fmt::format("; {} {}", name_of(event.output), quoted(event.output_bytes));
    }
    return out;
  }
  std::string operator()(const TrapEvent& event) const {
    const Registers& after = event.after;
    if (event.instruction == TrappedInstruction::kCpuid) {
      return fmt::format(
          "cpuid({:#x}, {:#x}) = {:#x} {:#x} {:#x} {:#x}", static_cast<uint32_t>(event.before.rax),
          static_cast<uint32_t>(event.before.rcx), after.rax, after.rbx, after.rcx, after.rdx);
    }
    if (event.instruction == TrappedInstruction::kRdrand ||
        event.instruction == TrappedInstruction::kRdseed) {
      return std::string(name_of(event.instruction));  // in the register that it names
    }
    return fmt::format("{} = {:#x}", name_of(event.instruction), after.rdx << 32 | after.rax);
  }
  std::string operator()(const SignalEvent& event) const {
    std::string out = fmt::format("{} at {}", signal_text(event.number), event.registers.pc());
    out += place_text(event.place);
    if (event.fatal) out += ", fatal";
    if (event.handler) {
      out += fmt::format(", handler at {}, frame of {} bytes", event.handler->registers.pc(),
                         total_bytes(event.handler->frame));
    }
    return out + dirty_text(event);
  }
  std::string operator()(const ChecksumEvent& event) const {
    return fmt::format("checksums of {} ranges", event.memory.size());
  }
  std::string operator()(const ExitEvent& event) const {
    std::string out;
    switch (event.reason) {
      case ExitReason::kExited:
        out = fmt::format("exit, status {}", event.status);
        break;
      case ExitReason::kKilled:
        out = "killed by " + signal_text(event.status);
        break;
      case ExitReason::kRecorderStopped:
        out = "end of the recording";
        break;
    }
    if (event.core_dumped) out += ", core dumped";
    if (event.place == ExitPlace::kUnknown) out += ", somewhere behind the event before";
    if (!event.message.empty()) out += ": " + quoted(event.message);
    return out;
  }
  std::string operator()(const SwitchEvent& event) const {
    std::string out = fmt::format("switch at {}{}", event.registers.pc(), place_text(event.place));
    return out + dirty_text(event);
  }
  std::string operator()(const SpawnEvent& event) const {
    switch (event.kind) {
      case SpawnKind::kThread:
        return fmt::format("thread of process {}, made by {}", event.pid, event.parent.value);
      case SpawnKind::kVfork:
        return fmt::format("process made by vfork in {}", event.parent.value);
      case SpawnKind::kFork:
        return fmt::format("process made by fork in {}", event.parent.value);
    }
    return "";
  }
  std::string operator()(const TaskEndEvent& event) const {
    return fmt::format("end of the task, status {:#x}{}", event.status, place_text(event.place));
  }
  std::string operator()(const MemoryEvent& event) const {
    std::string out = "memory changed by others";
    for (const AddressSpaceChange& change : event.changes) {
      out += "; " + std::visit(ChangeText{}, change);
    }
    if (!event.writes.empty()) out += fmt::format("; wrote {} bytes", total_bytes(event.writes));
    return out;
  }
};

// The lines below the first one.
class Details {
 public:
  explicit Details(std::string& out) : out_(out) {}

  void operator()(const ExecEvent& event) {
    registers(event.registers);
    for (const Mapping& mapping : event.mappings) line("map " + mapping_text(mapping));
    runs(event.contents, "contents");
    line(fmt::format("brk {}, {} bytes of auxv, {} bytes of extended state", event.brk,
                     event.auxv.size(), event.extended_state.size()));
    if (event.resumed == nullptr) return;
    for (const WaitingTask& task : event.resumed->others) {
      line(fmt::format("task {}{} at {}", task.tid.value, task.in_call ? " in a call" : "",
                       task.registers.pc()));
    }
  }
  void operator()(const SyscallEvent& event) {
    registers(event.before);
    differences(event.before, event.after);
    for (const AddressSpaceChange& change : event.changes) line(std::visit(ChangeText{}, change));
    runs(event.writes, "write");
  }
  void operator()(const TrapEvent& event) {
    registers(event.before);
    differences(event.before, event.after);
  }
  void operator()(const SignalEvent& event) {
    registers(event.registers);
    line(fmt::format("{} bytes of siginfo, {} bytes of extended state", event.siginfo.size(),
                     event.extended_state.size()));
    runs(event.dirty, "dirty");
    checksums(event.checksums);
    if (!event.handler) return;
    line("at the handler");
    registers(event.handler->registers);
    runs(event.handler->frame, "frame");
  }
  void operator()(const SwitchEvent& event) {
    registers(event.registers);
    runs(event.dirty, "dirty");
    checksums(event.checksums);
  }
  void operator()(const SpawnEvent& event) {
    registers(event.registers);
    runs(event.writes, "write");
  }
  void operator()(const TaskEndEvent& event) {
    registers(event.registers);
    runs(event.writes, "write");
  }
  void operator()(const MemoryEvent& event) { runs(event.writes, "write"); }
  void operator()(const ChecksumEvent& event) {
    registers(event.registers);
    checksums(event.memory);
  }
  void operator()(const ExitEvent& event) {
    registers(event.registers);
    checksums(event.memory);
  }

 private:
  void line(std::string_view text) { fmt::format_to(Out(out_), "    {}\n", text); }

  void registers(const Registers& values) {
    const std::string text = rchk::describe(values);
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      line(std::string_view(text).substr(begin, end - begin));
      begin = end + 1;
    }
  }
  void differences(const Registers& before, const Registers& after) {
    std::string text = "then";
#define RCHK_REGISTER(name) \
  if (before.name != after.name) text += fmt::format(" " #name "={:#x}", after.name);
#include "base/registers.def"
#undef RCHK_REGISTER
    line(text);
  }
  template <typename Runs>
  void runs(const Runs& runs, std::string_view what) {
    for (const auto& run : runs) {
      line(
          fmt::format("{} {} {} bytes {}", what, run.address, run.bytes.size(), quoted(run.bytes)));
    }
  }
  void checksums(const std::vector<MemoryChecksum>& checksums) {
    for (const MemoryChecksum& checksum : checksums) {
      line(fmt::format("checksum {} {:016x}", checksum.range, checksum.xxh3));
    }
  }

  std::string& out_;
};

}  // namespace

std::string describe(EventNumber number, const Event& event, const SyscallNamer& namer) {
  return fmt::format("{:>7} {:>4}.{:09} {:>7} {}", number.value, event.time_ns / 1'000'000'000,
                     event.time_ns % 1'000'000'000, event.tid.value,
                     std::visit(LineText{namer}, event.body));
}

std::string describe_in_detail(EventNumber number, const Event& event, const SyscallNamer& namer) {
  std::string out = describe(number, event, namer) + '\n';
  Details details(out);
  std::visit(details, event.body);
  return out;
}

}  // namespace rchk::trace
