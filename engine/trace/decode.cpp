#include <algorithm>
#include <bit>

#include "engine/trace/codec.h"
#include "engine/trace/codec_detail.h"

namespace rchk::trace {
namespace {

using namespace detail;

// A count from a file reserves no more than this in advance: the items must come first.
constexpr uint64_t kMostReserved = 256;

// Items of all lists of a batch: bounds what a small hostile file can make of itself in memory.
constexpr uint64_t kMostItems = 4 << 20;

constexpr uint8_t kAllProtection = snapshot::kRead | snapshot::kWrite | snapshot::kExecute;

// Mirrors EventWriter in encode.cpp, function by function.
class EventParser {
 public:
  EventParser(ByteReader& in, CodingState& state) : in_(in), state_(state) {}

  Result<void> read(Event& event) {
    RCHK_TRY_ASSIGN(const auto head, in_.value<uint8_t>());
    const auto kind = static_cast<uint8_t>(head & ~kOtherTask);
    if ((head & kOtherTask) != 0) {
      RCHK_TRY_ASSIGN(state_.tid.value, in_.value<int32_t>());
      RCHK_TRY(number32(state_.space));
    }
    event.tid = state_.tid;
    event.space = state_.space;
    RCHK_TRY_ASSIGN(const uint64_t elapsed, signed_varint());
    state_.time_ns += elapsed;
    event.time_ns = state_.time_ns;
    switch (static_cast<EventKind>(kind)) {
      case EventKind::kExec:
        return read_body(event.body.emplace<ExecEvent>());
      case EventKind::kSyscall:
        return read_body(event.body.emplace<SyscallEvent>());
      case EventKind::kTrap:
        return read_body(event.body.emplace<TrapEvent>());
      case EventKind::kSignal:
        return read_body(event.body.emplace<SignalEvent>());
      case EventKind::kChecksum:
        return read_body(event.body.emplace<ChecksumEvent>());
      case EventKind::kExit:
        return read_body(event.body.emplace<ExitEvent>());
      case EventKind::kSwitch:
        return read_body(event.body.emplace<SwitchEvent>());
      case EventKind::kSpawn:
        return read_body(event.body.emplace<SpawnEvent>());
      case EventKind::kTaskEnd:
        return read_body(event.body.emplace<TaskEndEvent>());
      case EventKind::kMemory:
        return read_body(event.body.emplace<MemoryEvent>());
    }
    return in_.bad(fmt::format("{} is no kind of event", kind));
  }

 private:
  Result<uint64_t> signed_varint() {
    RCHK_TRY_ASSIGN(const uint64_t number, in_.varint());
    return unzigzag(number);
  }
  Result<void> flags(uint8_t& out, uint8_t known) {
    RCHK_TRY_ASSIGN(out, in_.value<uint8_t>());
    if ((out & ~known) != 0) return in_.bad(fmt::format("unknown flags {:#x}", out));
    return {};
  }
  Result<void> boolean(bool& out) {
    uint8_t byte = 0;
    RCHK_TRY(flags(byte, 1));
    out = byte != 0;
    return {};
  }
  template <typename Enum>
  Result<void> enumerator(Enum& out, Enum last) {
    RCHK_TRY_ASSIGN(const auto number, in_.value<uint8_t>());
    if (number > static_cast<uint8_t>(last)) {
      return in_.bad(fmt::format("{} is out of its range", number));
    }
    out = static_cast<Enum>(number);
    return {};
  }
  Result<void> number32(uint32_t& out) {
    RCHK_TRY_ASSIGN(const uint64_t number, in_.varint());
    if (number > UINT32_MAX) return in_.bad("a number beyond 32 bits");
    out = static_cast<uint32_t>(number);
    return {};
  }
  Result<void> blob(Bytes& out) {
    RCHK_TRY_ASSIGN(const ByteView bytes, in_.blob());
    out.assign(bytes.begin(), bytes.end());
    return {};
  }
  // A range that does not wrap around; of whole pages if it is a part of an address space.
  Result<void> range_from(AddressRange& out, uint64_t begin) {
    RCHK_TRY_ASSIGN(const uint64_t size, in_.varint());
    if (begin + size < begin) return in_.bad("a range beyond the end of memory");
    out = range_of({begin}, size);
    return {};
  }
  Result<void> page_range(AddressRange& out) {
    RCHK_TRY_ASSIGN(const uint64_t begin, in_.varint());
    RCHK_TRY(range_from(out, begin));
    if (out != out.pages()) return in_.bad("a range that is not of whole pages");
    return {};
  }
  template <typename Item, typename ReadItem>
  Result<void> list(std::vector<Item>& items, ReadItem read_item) {
    RCHK_TRY_ASSIGN(const uint64_t count, in_.varint());
    if (count > in_.remaining() || count > items_left_) {
      return in_.bad(fmt::format("a list of {} items", count));
    }
    items_left_ -= count;
    items.reserve(std::min(count, kMostReserved));
    for (uint64_t i = 0; i < count; ++i) RCHK_TRY(read_item(items.emplace_back()));
    return {};
  }

  Result<void> registers(Registers& out, const Registers& guess) {
    RCHK_TRY_ASSIGN(uint64_t changed, in_.varint());
    RegisterArray values = to_array(guess);
    if ((changed >> values.size()) != 0) return in_.bad("a register that does not exist");
    for (; changed != 0; changed &= changed - 1) {
      RCHK_TRY_ASSIGN(const uint64_t difference, signed_varint());
      values[static_cast<size_t>(std::countr_zero(changed))] += difference;
    }
    out = from_array(values);
    return {};
  }
  Result<void> registers_at(EventKind kind, Registers& out) {
    RCHK_TRY_ASSIGN(const uint64_t distance, signed_varint());
    const uint64_t pc = state_.last().rip + distance;
    return registers(out, state_.guess(static_cast<uint8_t>(kind), pc));
  }
  void remember(EventKind kind, const Registers& before, const Registers& after) {
    state_.remember(static_cast<uint8_t>(kind), before, after);
  }

  Result<void> mapping(Mapping& out) {
    RCHK_TRY(page_range(out.range));
    RCHK_TRY(flags(out.protection, kAllProtection));
    uint8_t bits = 0;
    RCHK_TRY(flags(bits, kMappingShared | kMappingGrowsDown | kMappingBacked));
    out.shared = (bits & kMappingShared) != 0;
    out.grows_down = (bits & kMappingGrowsDown) != 0;
    if ((bits & kMappingBacked) != 0) {
      uint32_t file = 0;
      RCHK_TRY(number32(file));
      RCHK_TRY_ASSIGN(const uint64_t offset, in_.varint());
      if (offset + out.range.size() < offset) return in_.bad("a file offset beyond 64 bits");
      out.backing = FileBacking{{file}, offset};
    }
    RCHK_TRY_ASSIGN(out.name, in_.text());
    return {};
  }

  template <typename Run>
  Result<void> runs(std::vector<Run>& out, uint64_t origin) {
    return list(out, [&](Run& run) -> Result<void> {
      RCHK_TRY_ASSIGN(const uint64_t distance, signed_varint());
      run.address.value = origin + distance;
      RCHK_TRY(blob(run.bytes));
      origin = run.address.value + run.bytes.size();
      if (origin < run.address.value) return in_.bad("bytes beyond the end of memory");
      return {};
    });
  }
  Result<void> place(Place& out, Place last, bool& with_checksums) {
    RCHK_TRY_ASSIGN(const auto byte, in_.value<uint8_t>());
    with_checksums = (byte & kPlaceWithChecksums) != 0;
    const uint8_t number = byte & ~kPlaceWithChecksums;
    if (number > static_cast<uint8_t>(last)) {
      return in_.bad(fmt::format("{} is out of its range", number));
    }
    out = static_cast<Place>(number);
    return {};
  }
  Result<void> dirty_pages(std::vector<PageContents>& out) {
    RCHK_TRY(runs(out, 0));
    for (const PageContents& page : out) {
      if ((page.address.value | page.bytes.size()) % kPageSize != 0) {
        return in_.bad("dirty memory that is not of whole pages");
      }
    }
    return {};
  }
  Result<void> checksums(std::vector<MemoryChecksum>& out) {
    uint64_t origin = 0;
    return list(out, [&](MemoryChecksum& checksum) -> Result<void> {
      RCHK_TRY_ASSIGN(const uint64_t distance, signed_varint());
      RCHK_TRY(range_from(checksum.range, origin + distance));
      RCHK_TRY_ASSIGN(checksum.xxh3, in_.value<uint64_t>());
      origin = checksum.range.end.value;
      return {};
    });
  }

  Result<void> change(AddressSpaceChange& out) {
    RCHK_TRY_ASSIGN(const auto kind, in_.value<uint8_t>());
    switch (static_cast<ChangeKind>(kind)) {
      case ChangeKind::kMap:
        return mapping(out.emplace<MapChange>().mapping);
      case ChangeKind::kUnmap:
        return page_range(out.emplace<UnmapChange>().range);
      case ChangeKind::kProtect: {
        auto& change = out.emplace<ProtectChange>();
        RCHK_TRY(page_range(change.range));
        return flags(change.protection, kAllProtection);
      }
      case ChangeKind::kRemap: {
        auto& change = out.emplace<RemapChange>();
        RCHK_TRY(page_range(change.from));
        RCHK_TRY(page_range(change.to));
        return boolean(change.keep_old);
      }
      case ChangeKind::kDiscard:
        return page_range(out.emplace<DiscardChange>().range);
    }
    return in_.bad(fmt::format("{} is no kind of change of an address space", kind));
  }

  Result<void> read_body(ExecEvent& event) {
    RCHK_TRY_ASSIGN(event.executable, in_.text());
    RCHK_TRY(list(event.mappings, [&](Mapping& item) { return mapping(item); }));
    RCHK_TRY(runs(event.contents, 0));
    RCHK_TRY(registers_at(EventKind::kExec, event.registers));
    RCHK_TRY(blob(event.extended_state));
    RCHK_TRY(blob(event.auxv));
    RCHK_TRY_ASSIGN(event.brk.value, in_.varint());
    RCHK_TRY_ASSIGN(event.pid, in_.value<int32_t>());
    RCHK_TRY_ASSIGN(event.stack_limit_bytes, in_.varint());
    remember(EventKind::kExec, event.registers, event.registers);
    return {};
  }

  Result<void> read_body(SyscallEvent& event) {
    uint8_t bits = 0;
    RCHK_TRY(flags(bits, kSyscallNumber | kSyscallChanges | kSyscallWrites | kSyscallOutput |
                             kSyscallExtendedState));
    RCHK_TRY(registers_at(EventKind::kSyscall, event.before));
    RCHK_TRY(registers(event.after, guess_after_syscall(event.before)));
    event.number = static_cast<int32_t>(event.before.rax);
    if ((bits & kSyscallNumber) != 0) {
      RCHK_TRY_ASSIGN(event.number, in_.value<int32_t>());
    }
    if ((bits & kSyscallChanges) != 0) {
      RCHK_TRY(list(event.changes, [&](AddressSpaceChange& item) { return change(item); }));
    }
    if ((bits & kSyscallWrites) != 0) RCHK_TRY(runs(event.writes, event.before.rsi));
    if ((bits & kSyscallOutput) != 0) {
      RCHK_TRY(enumerator(event.output, OutputStream::kStderr));
      RCHK_TRY(blob(event.output_bytes));
    }
    if ((bits & kSyscallExtendedState) != 0) RCHK_TRY(blob(event.extended_state));
    remember(EventKind::kSyscall, event.before, event.after);
    return {};
  }

  Result<void> read_body(TrapEvent& event) {
    RCHK_TRY(enumerator(event.instruction, TrappedInstruction::kRdseed));
    RCHK_TRY(registers_at(EventKind::kTrap, event.before));
    RCHK_TRY(registers(event.after, guess_after_trap(event.instruction, event.before)));
    remember(EventKind::kTrap, event.before, event.after);
    return {};
  }

  Result<void> read_body(SignalEvent& event) {
    uint8_t bits = 0;
    RCHK_TRY(flags(bits, kSignalFatal | kSignalHandler));
    event.fatal = (bits & kSignalFatal) != 0;
    bool sums = false;
    RCHK_TRY(place(event.place, Place::kAtCall, sums));
    RCHK_TRY_ASSIGN(event.number, in_.value<int32_t>());
    RCHK_TRY(blob(event.siginfo));
    RCHK_TRY(registers_at(EventKind::kSignal, event.registers));
    RCHK_TRY(blob(event.extended_state));
    RCHK_TRY(dirty_pages(event.dirty));
    if (sums) RCHK_TRY(checksums(event.checksums));
    if ((bits & kSignalHandler) != 0) {
      HandlerEntry& handler = event.handler.emplace();
      RCHK_TRY(registers(handler.registers, event.registers));
      RCHK_TRY(blob(handler.extended_state));
      RCHK_TRY(runs(handler.frame, handler.registers.rsp));
    }
    remember(EventKind::kSignal, event.registers, event.registers);
    return {};
  }

  Result<void> read_body(SwitchEvent& event) {
    bool sums = false;
    RCHK_TRY(place(event.place, Place::kBySnapshot, sums));
    RCHK_TRY(registers_at(EventKind::kSwitch, event.registers));
    RCHK_TRY(blob(event.extended_state));
    RCHK_TRY(dirty_pages(event.dirty));
    if (sums) RCHK_TRY(checksums(event.checksums));
    remember(EventKind::kSwitch, event.registers, event.registers);
    return {};
  }

  Result<void> read_body(SpawnEvent& event) {
    RCHK_TRY_ASSIGN(event.parent.value, in_.value<int32_t>());
    RCHK_TRY(number32(event.parent_space));
    RCHK_TRY_ASSIGN(event.pid, in_.value<int32_t>());
    RCHK_TRY(enumerator(event.kind, SpawnKind::kFork));
    RCHK_TRY(registers_at(EventKind::kSpawn, event.registers));
    RCHK_TRY(runs(event.writes, event.registers.rsp));
    remember(EventKind::kSpawn, event.registers, event.registers);
    return {};
  }

  Result<void> read_body(TaskEndEvent& event) {
    RCHK_TRY(enumerator(event.place, Place::kAtCall));
    RCHK_TRY_ASSIGN(event.status, in_.value<int32_t>());
    RCHK_TRY(registers_at(EventKind::kTaskEnd, event.registers));
    RCHK_TRY(runs(event.writes, event.registers.rsp));
    remember(EventKind::kTaskEnd, event.registers, event.registers);
    return {};
  }

  Result<void> read_body(MemoryEvent& event) {
    RCHK_TRY(list(event.changes, [&](AddressSpaceChange& item) { return change(item); }));
    return runs(event.writes, 0);
  }

  Result<void> read_body(ChecksumEvent& event) {
    RCHK_TRY(registers_at(EventKind::kChecksum, event.registers));
    RCHK_TRY(checksums(event.memory));
    remember(EventKind::kChecksum, event.registers, event.registers);
    return {};
  }

  Result<void> read_body(ExitEvent& event) {
    RCHK_TRY(enumerator(event.reason, ExitReason::kRecorderStopped));
    RCHK_TRY_ASSIGN(event.status, in_.value<int32_t>());
    RCHK_TRY(boolean(event.core_dumped));
    RCHK_TRY_ASSIGN(event.message, in_.text());
    RCHK_TRY(enumerator(event.place, ExitPlace::kUnknown));
    RCHK_TRY(registers_at(EventKind::kExit, event.registers));
    RCHK_TRY(checksums(event.memory));
    remember(EventKind::kExit, event.registers, event.registers);
    return {};
  }

  ByteReader& in_;
  CodingState& state_;
  uint64_t items_left_ = kMostItems;
};

Result<void> read_texts(ByteReader& in, std::vector<std::string>& out) {
  RCHK_TRY_ASSIGN(const uint64_t count, in.varint());
  if (count > in.remaining()) return in.bad(fmt::format("a list of {} texts", count));
  for (uint64_t i = 0; i < count; ++i) {
    RCHK_TRY_ASSIGN(out.emplace_back(), in.text());
  }
  return {};
}

}  // namespace

Result<Event> BatchDecoder::next(ByteView bytes) {
  ByteReader in(bytes.subspan(position_), "event log", position_);
  Event event;
  RCHK_TRY(EventParser(in, state_).read(event));
  position_ = in.offset();
  return event;
}

Result<std::vector<Event>> decode_batch(ByteView bytes, uint32_t count, const std::string& what,
                                        uint64_t base_offset) {
  ByteReader in(bytes, what, base_offset);
  CodingState state;
  EventParser parser(in, state);
  std::vector<Event> events;
  if (count > bytes.size()) return in.bad(fmt::format("a batch of {} events", count));
  events.reserve(std::min<uint64_t>(count, kBatchEvents));
  for (uint32_t i = 0; i < count; ++i) RCHK_TRY(parser.read(events.emplace_back()));
  if (!in.at_end()) return in.bad("bytes behind the last event of a batch");
  return events;
}

Result<RecordingInfo> decode_info(ByteView bytes, const std::string& what, uint64_t base_offset) {
  ByteReader in(bytes, what, base_offset);
  RecordingInfo info;
  RCHK_TRY_ASSIGN(info.rchk_version, in.text());
  RCHK_TRY_ASSIGN(info.kernel_release, in.text());
  RCHK_TRY_ASSIGN(info.hostname, in.text());
  RCHK_TRY_ASSIGN(info.start_unix_ns, in.value<int64_t>());
  RCHK_TRY(read_texts(in, info.arguments));
  RCHK_TRY(read_texts(in, info.environment));
  RCHK_TRY_ASSIGN(info.working_directory, in.text());
  RCHK_TRY_ASSIGN(info.pid, in.value<int32_t>());
  RCHK_TRY_ASSIGN(info.xcr0, in.value<uint64_t>());
  RCHK_TRY_ASSIGN(info.processor_id, in.value<uint32_t>());
  RCHK_TRY_ASSIGN(const auto bits, in.value<uint8_t>());
  if ((bits & ~(kInfoCpuidTrapped | kInfoTscTrapped)) != 0) return in.bad("unknown flags");
  info.cpuid_trapped = (bits & kInfoCpuidTrapped) != 0;
  info.tsc_trapped = (bits & kInfoTscTrapped) != 0;
  RCHK_TRY_ASSIGN(const uint64_t leaves, in.varint());
  if (leaves > in.remaining()) return in.bad(fmt::format("a list of {} CPUID leaves", leaves));
  for (uint64_t i = 0; i < leaves; ++i) {
    RCHK_TRY_ASSIGN(info.cpuid.emplace_back(), in.value<CpuidLeaf>());
  }
  if (!in.at_end()) return in.bad("bytes behind the recording's facts");
  return info;
}

Result<TaskCount> decode_task_count(ByteView bytes, const std::string& what, uint64_t base_offset) {
  ByteReader in(bytes, what, base_offset);
  TaskCount count;
  RCHK_TRY_ASSIGN(count.processes, in.varint());
  RCHK_TRY_ASSIGN(count.tasks, in.varint());
  if (!in.at_end()) return in.bad("bytes behind the number of tasks");
  return count;
}

Result<Bookmark> decode_bookmark(ByteView bytes, const std::string& what, uint64_t base_offset) {
  ByteReader in(bytes, what, base_offset);
  Bookmark bookmark;
  RCHK_TRY_ASSIGN(bookmark.name, in.text());
  RCHK_TRY_ASSIGN(bookmark.process, in.value<int32_t>());
  RCHK_TRY_ASSIGN(bookmark.event.value, in.varint());
  RCHK_TRY_ASSIGN(bookmark.instructions, in.varint());
  RCHK_TRY_ASSIGN(bookmark.rep_iterations, in.varint());
  if (!in.at_end()) return in.bad("bytes behind a bookmark");
  return bookmark;
}

Result<std::vector<TaskName>> decode_task_names(ByteView bytes, const std::string& what,
                                                uint64_t base_offset) {
  ByteReader in(bytes, what, base_offset);
  std::vector<TaskName> names;
  RCHK_TRY_ASSIGN(const uint64_t count, in.varint());
  if (count > in.remaining()) return in.bad(fmt::format("a list of {} names", count));
  for (uint64_t i = 0; i < count; ++i) {
    TaskName& name = names.emplace_back();
    RCHK_TRY_ASSIGN(name.from.value, in.varint());
    RCHK_TRY_ASSIGN(name.tid.value, in.value<int32_t>());
    RCHK_TRY_ASSIGN(name.name, in.text());
  }
  if (!in.at_end()) return in.bad("bytes behind the names of tasks");
  return names;
}

Result<FileInfo> decode_file_info(ByteView bytes, const std::string& what, uint64_t base_offset) {
  ByteReader in(bytes, what, base_offset);
  FileInfo info;
  RCHK_TRY_ASSIGN(info.id.value, in.value<uint32_t>());
  RCHK_TRY_ASSIGN(info.path, in.text());
  RCHK_TRY_ASSIGN(info.device, in.value<uint64_t>());
  RCHK_TRY_ASSIGN(info.inode, in.value<uint64_t>());
  RCHK_TRY_ASSIGN(info.mtime_ns, in.value<int64_t>());
  RCHK_TRY_ASSIGN(info.size_bytes, in.value<uint64_t>());
  if (!in.at_end()) return in.bad("bytes behind a file's facts");
  return info;
}

}  // namespace rchk::trace
