#include <array>
#include <bit>
#include <cstring>

#include "engine/trace/codec.h"
#include "engine/trace/codec_detail.h"

namespace rchk::trace {
namespace {

using namespace detail;

// Stops compiling when an event gets a field: then it is to be written, read, described and tested
// too, and the version of the chunks that hold it goes up.
[[maybe_unused]] void count_fields(const ExecEvent& exec, const SyscallEvent& syscall,
                                   const TrapEvent& trap, const SignalEvent& signal,
                                   const ChecksumEvent& checksum, const ExitEvent& exit,
                                   const SwitchEvent& change, const SpawnEvent& spawn,
                                   const TaskEndEvent& end, const HandlerEntry& handler,
                                   const Mapping& mapping, const RecordingInfo& recording,
                                   const FileInfo& file) {
  [[maybe_unused]] const auto& [e1, e2, e3, e4, e5, e6, e7, e8, e9, not_written] = exec;
  [[maybe_unused]] const auto& [s1, s2, s3, s4, s5, s6, s7, s8] = syscall;
  [[maybe_unused]] const auto& [t1, t2, t3] = trap;
  [[maybe_unused]] const auto& [g1, g2, g3, g4, g5, g6, g7, g8, g9] = signal;
  [[maybe_unused]] const auto& [c1, c2] = checksum;
  [[maybe_unused]] const auto& [x1, x2, x3, x4, x5, x6, x7] = exit;
  [[maybe_unused]] const auto& [w1, w2, w3, w4, w5] = change;
  [[maybe_unused]] const auto& [p1, p2, p3, p4, p5, p6] = spawn;
  [[maybe_unused]] const auto& [n1, n2, n3, n4] = end;
  [[maybe_unused]] const auto& [h1, h2, h3] = handler;
  [[maybe_unused]] const auto& [m1, m2, m3, m4, m5, m6] = mapping;
  [[maybe_unused]] const auto& [r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13] = recording;
  [[maybe_unused]] const auto& [f1, f2, f3, f4, f5, f6] = file;
}

class EventWriter {
 public:
  EventWriter(Bytes& out, CodingState& state) : out_(out), state_(state) {}

  void write(const Event& event) {
    const bool same_task = event.tid == state_.tid && event.space == state_.space;
    out_.value(static_cast<uint8_t>(event.body.index() | (same_task ? 0 : kOtherTask)));
    if (!same_task) {
      out_.value(event.tid.value);
      out_.varint(event.space);
      state_.tid = event.tid;
      state_.space = event.space;
    }
    signed_varint(event.time_ns - state_.time_ns);
    state_.time_ns = event.time_ns;
    std::visit([&](const auto& body) { write_body(body); }, event.body);
  }

 private:
  void signed_varint(uint64_t difference) { out_.varint(zigzag(difference)); }
  void range(AddressRange range) {
    out_.varint(range.begin.value);
    out_.varint(range.size());
  }

  void registers(const Registers& value, const Registers& guess) {
    const RegisterArray values = to_array(value);
    const RegisterArray guesses = to_array(guess);
    uint64_t changed = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i] != guesses[i]) changed |= uint64_t{1} << i;
    }
    out_.varint(changed);
    for (; changed != 0; changed &= changed - 1) {
      const auto i = static_cast<size_t>(std::countr_zero(changed));
      signed_varint(values[i] - guesses[i]);
    }
  }
  // The pc first: it chooses the guess for the rest.
  void registers_at(EventKind kind, const Registers& value) {
    signed_varint(value.rip - state_.last().rip);
    registers(value, state_.guess(static_cast<uint8_t>(kind), value.rip));
  }
  void remember(EventKind kind, const Registers& before, const Registers& after) {
    state_.remember(static_cast<uint8_t>(kind), before, after);
  }

  void mapping(const Mapping& mapping) {
    range(mapping.range);
    out_.value(mapping.protection);
    out_.value(static_cast<uint8_t>((mapping.shared ? kMappingShared : 0) |
                                    (mapping.grows_down ? kMappingGrowsDown : 0) |
                                    (mapping.backing ? kMappingBacked : 0)));
    if (mapping.backing) {
      out_.varint(mapping.backing->file.value);
      out_.varint(mapping.backing->offset_bytes);
    }
    out_.text(mapping.name);
  }

  // Addresses are differences from where the previous run ended; the first, from `origin`.
  template <typename Run>
  void runs(const std::vector<Run>& runs, uint64_t origin) {
    out_.varint(runs.size());
    for (const Run& run : runs) {
      signed_varint(run.address.value - origin);
      out_.blob(run.bytes);
      origin = run.address.value + run.bytes.size();
    }
  }
  void checksums(const std::vector<MemoryChecksum>& checksums) {
    out_.varint(checksums.size());
    uint64_t origin = 0;
    for (const MemoryChecksum& checksum : checksums) {
      signed_varint(checksum.range.begin.value - origin);
      out_.varint(checksum.range.size());
      out_.value(checksum.xxh3);
      origin = checksum.range.end.value;
    }
  }

  void change(const MapChange& change) { mapping(change.mapping); }
  void change(const UnmapChange& change) { range(change.range); }
  void change(const ProtectChange& change) {
    range(change.range);
    out_.value(change.protection);
  }
  void change(const RemapChange& change) {
    range(change.from);
    range(change.to);
    out_.value(static_cast<uint8_t>(change.keep_old));
  }
  void change(const DiscardChange& change) { range(change.range); }
  void changes(const std::vector<AddressSpaceChange>& changes) {
    out_.varint(changes.size());
    for (const AddressSpaceChange& item : changes) {
      out_.value(static_cast<uint8_t>(item.index()));
      std::visit([&](const auto& alternative) { change(alternative); }, item);
    }
  }

  template <typename StateEvent>
  void place(const StateEvent& event) {
    out_.value(static_cast<uint8_t>(static_cast<uint8_t>(event.place) |
                                    (event.checksums.empty() ? 0 : kPlaceWithChecksums)));
  }

  void write_body(const ExecEvent& event) {
    out_.text(event.executable);
    out_.varint(event.mappings.size());
    for (const Mapping& item : event.mappings) mapping(item);
    runs(event.contents, 0);
    registers_at(EventKind::kExec, event.registers);
    out_.blob(event.extended_state);
    out_.blob(event.auxv);
    out_.varint(event.brk.value);
    out_.value(event.pid);
    out_.varint(event.stack_limit_bytes);
    remember(EventKind::kExec, event.registers, event.registers);
  }

  void write_body(const SyscallEvent& event) {
    const bool number_is_rax = event.number == static_cast<int32_t>(event.before.rax);
    const bool has_output = event.output != OutputStream::kNone || !event.output_bytes.empty();
    out_.value(static_cast<uint8_t>(
        (number_is_rax ? 0 : kSyscallNumber) | (event.changes.empty() ? 0 : kSyscallChanges) |
        (event.writes.empty() ? 0 : kSyscallWrites) | (has_output ? kSyscallOutput : 0) |
        (event.extended_state.empty() ? 0 : kSyscallExtendedState)));
    registers_at(EventKind::kSyscall, event.before);
    registers(event.after, guess_after_syscall(event.before));
    if (!number_is_rax) out_.value(event.number);
    if (!event.changes.empty()) changes(event.changes);
    if (!event.writes.empty()) runs(event.writes, event.before.rsi);
    if (has_output) {
      out_.value(static_cast<uint8_t>(event.output));
      out_.blob(event.output_bytes);
    }
    if (!event.extended_state.empty()) out_.blob(event.extended_state);
    remember(EventKind::kSyscall, event.before, event.after);
  }

  void write_body(const TrapEvent& event) {
    out_.value(static_cast<uint8_t>(event.instruction));
    registers_at(EventKind::kTrap, event.before);
    registers(event.after, guess_after_trap(event.instruction, event.before));
    remember(EventKind::kTrap, event.before, event.after);
  }

  void write_body(const SignalEvent& event) {
    out_.value(static_cast<uint8_t>((event.fatal ? kSignalFatal : 0) |
                                    (event.handler ? kSignalHandler : 0)));
    place(event);
    out_.value(event.number);
    out_.blob(event.siginfo);
    registers_at(EventKind::kSignal, event.registers);
    out_.blob(event.extended_state);
    runs(event.dirty, 0);
    if (!event.checksums.empty()) checksums(event.checksums);
    if (event.handler) {
      registers(event.handler->registers, event.registers);
      out_.blob(event.handler->extended_state);
      runs(event.handler->frame, event.handler->registers.rsp);
    }
    remember(EventKind::kSignal, event.registers, event.registers);
  }

  void write_body(const SwitchEvent& event) {
    place(event);
    registers_at(EventKind::kSwitch, event.registers);
    out_.blob(event.extended_state);
    runs(event.dirty, 0);
    if (!event.checksums.empty()) checksums(event.checksums);
    remember(EventKind::kSwitch, event.registers, event.registers);
  }

  void write_body(const SpawnEvent& event) {
    out_.value(event.parent.value);
    out_.varint(event.parent_space);
    out_.value(event.pid);
    out_.value(static_cast<uint8_t>(event.kind));
    registers_at(EventKind::kSpawn, event.registers);
    runs(event.writes, event.registers.rsp);
    remember(EventKind::kSpawn, event.registers, event.registers);
  }

  void write_body(const TaskEndEvent& event) {
    out_.value(static_cast<uint8_t>(event.place));
    out_.value(event.status);
    registers_at(EventKind::kTaskEnd, event.registers);
    runs(event.writes, event.registers.rsp);
    remember(EventKind::kTaskEnd, event.registers, event.registers);
  }

  void write_body(const MemoryEvent& event) {
    changes(event.changes);
    runs(event.writes, 0);
  }

  void write_body(const ChecksumEvent& event) {
    registers_at(EventKind::kChecksum, event.registers);
    checksums(event.memory);
    remember(EventKind::kChecksum, event.registers, event.registers);
  }

  void write_body(const ExitEvent& event) {
    out_.value(static_cast<uint8_t>(event.reason));
    out_.value(event.status);
    out_.value(static_cast<uint8_t>(event.core_dumped));
    out_.text(event.message);
    out_.value(static_cast<uint8_t>(event.place));
    registers_at(EventKind::kExit, event.registers);
    checksums(event.memory);
    remember(EventKind::kExit, event.registers, event.registers);
  }

  ByteWriter out_;
  CodingState& state_;
};

}  // namespace

// That a chunk of events needs.
static uint16_t version_of(const EventBody& body) {
  const auto* change = std::get_if<SwitchEvent>(&body);
  const auto* signal = std::get_if<SignalEvent>(&body);
  const bool sums = (change != nullptr && !change->checksums.empty()) ||
                    (signal != nullptr && !signal->checksums.empty());
  if (sums) return kEventsWithChecksums;
  const bool by_snapshot = change != nullptr && change->place == Place::kBySnapshot;
  return by_snapshot ? kEventsBySnapshot : version_of(ChunkType::kEvents);
}

void BatchEncoder::add(const Event& event) {
  EventWriter(bytes_, state_).write(event);
  ++count_;
  version_ = std::max(version_, version_of(event.body));
}

Bytes BatchEncoder::take(Bytes spare) {
  Bytes taken = std::move(bytes_);
  *this = BatchEncoder();
  bytes_ = std::move(spare);
  bytes_.clear();
  return taken;
}

Bytes encode_info(const RecordingInfo& info) {
  Bytes bytes;
  ByteWriter out(bytes);
  const auto texts = [&](const std::vector<std::string>& items) {
    out.varint(items.size());
    for (const std::string& item : items) out.text(item);
  };
  out.text(info.rchk_version);
  out.text(info.kernel_release);
  out.text(info.hostname);
  out.value(info.start_unix_ns);
  texts(info.arguments);
  texts(info.environment);
  out.text(info.working_directory);
  out.value(info.pid);
  out.value(info.xcr0);
  out.value(info.processor_id);
  out.value(static_cast<uint8_t>((info.cpuid_trapped ? kInfoCpuidTrapped : 0) |
                                 (info.tsc_trapped ? kInfoTscTrapped : 0)));
  out.varint(info.cpuid.size());
  for (const CpuidLeaf& leaf : info.cpuid) out.value(leaf);
  return bytes;
}

Bytes encode_task_count(const TaskCount& count) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.varint(count.processes);
  out.varint(count.tasks);
  return bytes;
}

Bytes encode_bookmark(const Bookmark& bookmark) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.text(bookmark.name);
  out.value(bookmark.process);
  out.varint(bookmark.event.value);
  out.varint(bookmark.instructions);
  out.varint(bookmark.rep_iterations);
  return bytes;
}

Bytes encode_task_names(const std::vector<TaskName>& names) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.varint(names.size());
  for (const TaskName& name : names) {
    out.varint(name.from.value);
    out.value(name.tid.value);
    out.text(name.name);
  }
  return bytes;
}

Bytes encode_file_info(const FileInfo& info) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.value(info.id.value);
  out.text(info.path);
  out.value(info.device);
  out.value(info.inode);
  out.value(info.mtime_ns);
  out.value(info.size_bytes);
  return bytes;
}

}  // namespace rchk::trace
