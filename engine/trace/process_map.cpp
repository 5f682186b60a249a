#include "engine/trace/process_map.h"

#include <algorithm>
#include <map>

namespace rchk::trace {

namespace {

// Of a process.
enum ProcessFlag : uint8_t {
  kOriginMask = 3,
  kIsResumed = 4,
  kHasParent = 8,
  kHasMemoryFrom = 16,
  kHasMadeBehind = 32,
  kHasMakerReturned = 64,
  kHasEnd = 128,
};

uint8_t flags_of(const Process& process) {
  const auto flag = [](bool there, ProcessFlag one) { return there ? int{one} : 0; };
  return static_cast<uint8_t>(static_cast<int>(process.origin) |
                              flag(process.is_resumed, kIsResumed) |
                              flag(process.parent.has_value(), kHasParent) |
                              flag(process.memory_from.has_value(), kHasMemoryFrom) |
                              flag(process.made_behind.has_value(), kHasMadeBehind) |
                              flag(process.maker_returned.has_value(), kHasMakerReturned) |
                              flag(process.end.has_value(), kHasEnd));
}

void write_program(ByteWriter& out, const Program& program) {
  out.varint(program.event.value);
  out.text(program.executable);
  out.varint(program.arguments.size());
  for (const std::string& word : program.arguments) out.text(word);
  out.varint(program.left ? program.left->value + 1 : 0);
}

void write_process(ByteWriter& out, const Process& process) {
  out.value(process.pid);
  out.value(flags_of(process));
  if (process.parent) out.varint(process.parent->value);
  if (process.memory_from) out.varint(process.memory_from->value);
  out.value(process.made_by.value);
  if (process.made_behind) out.varint(process.made_behind->value);
  if (process.maker_returned) out.varint(process.maker_returned->value);
  out.varint(process.begin.value);
  out.varint(process.programs.size());
  for (const Program& program : process.programs) write_program(out, program);
  if (process.end) {
    out.varint(process.end->event.value);
    out.value(static_cast<uint8_t>(process.end->reason));
    out.value(process.end->status);
    out.value(static_cast<uint8_t>(process.end->core_dumped ? 1 : 0));
  }
  out.varint(process.events);
  out.varint(process.tasks);
}

// Believes nothing: what it returns can be used without looking.
class Reader {
 public:
  Reader(ByteView bytes, const LogShape& shape, const std::string& what, uint64_t base_offset)
      : in_(bytes, what, base_offset), shape_(shape), event_count_(shape.resumed.size()) {
    for (const uint32_t count : shape.batches) event_count_ += count;
  }

  Result<ProcessMap> read() {
    RCHK_TRY_ASSIGN(process_count_, count("processes"));
    std::vector<Process> processes;
    for (uint64_t i = 0; i < process_count_; ++i) {
      RCHK_TRY_ASSIGN(processes.emplace_back(), read_process(i));
    }
    RCHK_TRY_ASSIGN(ProcessTable::Spaces spaces, read_spaces());
    ProcessMap map(ProcessTable(std::move(processes), std::move(spaces), event_count_));
    EventNumber next{0};
    if (!shape_.resumed.empty()) {
      ShareCounter counter;
      for (const uint32_t space : shape_.resumed) {
        if (!map.owner(space)) return in_.bad(fmt::format("memory {} is nobody's", space));
        counter.add(space);
      }
      const auto events = static_cast<uint32_t>(shape_.resumed.size());
      map.add_batch({next, events}, counter.take());
      next.value += events;
    }
    RCHK_TRY_ASSIGN(const uint64_t batches, count("batches"));
    if (batches != shape_.batches.size()) {
      return in_.bad(fmt::format("{} batches of events, of which the recording has {}", batches,
                                 shape_.batches.size()));
    }
    for (const uint32_t events : shape_.batches) {
      RCHK_TRY_ASSIGN(const auto shares, read_shares(events, map));
      map.add_batch({next, events}, shares);
      next.value += events;
    }
    if (!in_.at_end()) return in_.bad("bytes behind the processes");
    return map;
  }

 private:
  // Of items that take a byte at least.
  Result<uint64_t> count(std::string_view of_what) {
    RCHK_TRY_ASSIGN(const uint64_t number, in_.varint());
    if (number > in_.remaining()) return in_.bad(fmt::format("a list of {} {}", number, of_what));
    return number;
  }
  Result<EventNumber> event() {
    RCHK_TRY_ASSIGN(const uint64_t number, in_.varint());
    if (number < event_count_) return EventNumber{number};
    return in_.bad(fmt::format("event {}, which the recording does not have", number));
  }
  // One of those before number `limit`.
  Result<ProcessIndex> process_before(uint64_t limit) {
    RCHK_TRY_ASSIGN(const uint64_t index, in_.varint());
    if (index < limit) return ProcessIndex{static_cast<size_t>(index)};
    return in_.bad(fmt::format("process number {} where there are {}", index, limit));
  }

  Result<Process> read_process(uint64_t index) {
    Process process;
    RCHK_TRY_ASSIGN(process.pid, in_.value<int32_t>());
    RCHK_TRY_ASSIGN(const auto flags, in_.value<uint8_t>());
    if ((flags & kOriginMask) > static_cast<int>(ProcessOrigin::kVfork)) {
      return in_.bad("an unknown origin of a process");
    }
    process.origin = static_cast<ProcessOrigin>(flags & kOriginMask);
    process.is_resumed = (flags & kIsResumed) != 0;
    // What a process comes from is in front of it.
    if ((flags & kHasParent) != 0) {
      RCHK_TRY_ASSIGN(process.parent, process_before(index));
    }
    if ((flags & kHasMemoryFrom) != 0) {
      RCHK_TRY_ASSIGN(process.memory_from, process_before(index));
    }
    RCHK_TRY_ASSIGN(process.made_by.value, in_.value<int32_t>());
    if ((flags & kHasMadeBehind) != 0) {
      RCHK_TRY_ASSIGN(process.made_behind, event());
    }
    if ((flags & kHasMakerReturned) != 0) {
      RCHK_TRY_ASSIGN(process.maker_returned, event());
    }
    RCHK_TRY_ASSIGN(process.begin, event());
    RCHK_TRY_ASSIGN(const uint64_t programs, count("programs"));
    for (uint64_t i = 0; i < programs; ++i) {
      RCHK_TRY_ASSIGN(Program program, read_program(index));
      const bool in_order = process.programs.empty()
                                ? process.begin <= program.event
                                : process.programs.back().event < program.event;
      if (!in_order) return in_.bad("a program that begins before what was there before it");
      process.programs.push_back(std::move(program));
    }
    if ((flags & kHasEnd) != 0) {
      RCHK_TRY_ASSIGN(process.end, read_end());
    }
    RCHK_TRY_ASSIGN(process.events, in_.varint());
    RCHK_TRY_ASSIGN(process.tasks, in_.varint());
    const bool made = process.origin != ProcessOrigin::kFirst && !process.is_resumed;
    if (made != process.memory_from.has_value() || (!made && process.programs.empty())) {
      return in_.bad("a process that comes from nowhere");
    }
    return process;
  }

  Result<Program> read_program(uint64_t process_index) {
    Program program;
    RCHK_TRY_ASSIGN(program.event, event());
    RCHK_TRY_ASSIGN(program.executable, in_.text());
    RCHK_TRY_ASSIGN(const uint64_t words, count("words"));
    for (uint64_t i = 0; i < words; ++i) {
      RCHK_TRY_ASSIGN(program.arguments.emplace_back(), in_.text());
    }
    RCHK_TRY_ASSIGN(const uint64_t left, in_.varint());
    if (left > process_count_ || left == process_index + 1) {
      return in_.bad("a program that leaves memory of nobody");
    }
    if (left != 0) program.left = ProcessIndex{static_cast<size_t>(left - 1)};
    return program;
  }

  Result<ProcessEnd> read_end() {
    ProcessEnd end;
    RCHK_TRY_ASSIGN(end.event, event());
    RCHK_TRY_ASSIGN(const auto reason, in_.value<uint8_t>());
    RCHK_TRY_ASSIGN(end.status, in_.value<int32_t>());
    RCHK_TRY_ASSIGN(const auto core_dumped, in_.value<uint8_t>());
    if (reason > static_cast<uint8_t>(ExitReason::kRecorderStopped) || core_dumped > 1) {
      return in_.bad("an unknown end of a process");
    }
    end.reason = static_cast<ExitReason>(reason);
    end.core_dumped = core_dumped == 1;
    return end;
  }

  Result<ProcessTable::Spaces> read_spaces() {
    ProcessTable::Spaces spaces;
    RCHK_TRY_ASSIGN(const uint64_t number, count("address spaces"));
    uint64_t space = 0;
    for (uint64_t i = 0; i < number; ++i) {
      RCHK_TRY_ASSIGN(space, next_space(space));
      RCHK_TRY_ASSIGN(const ProcessIndex owner, process_before(process_count_));
      spaces[static_cast<uint32_t>(space)] = owner;
      ++space;
    }
    return spaces;
  }
  // They come in order; `least`: behind the one before.
  Result<uint64_t> next_space(uint64_t least) {
    RCHK_TRY_ASSIGN(const uint64_t distance, in_.varint());
    if (least > UINT32_MAX || distance > UINT32_MAX - least) {
      return in_.bad("the number of an address space that is too large");
    }
    return least + distance;
  }

  Result<std::vector<SpaceShare>> read_shares(uint32_t events, const ProcessMap& map) {
    std::vector<SpaceShare> shares;
    RCHK_TRY_ASSIGN(const uint64_t number, count("shares"));
    uint64_t space = 0, total = 0;
    for (uint64_t i = 0; i < number; ++i) {
      RCHK_TRY_ASSIGN(space, next_space(space));
      RCHK_TRY_ASSIGN(const uint64_t first, in_.varint());
      RCHK_TRY_ASSIGN(const uint64_t own, in_.varint());
      RCHK_TRY_ASSIGN(const uint64_t others, in_.varint());
      const bool fits = own != 0 && first < events && own <= events && others <= events &&
                        first + own + others <= events;
      if (!fits) return in_.bad(fmt::format("events of memory {} that a batch cannot have", space));
      if (!map.owner(static_cast<uint32_t>(space))) {
        return in_.bad(fmt::format("memory {} is nobody's", space));
      }
      shares.push_back({static_cast<uint32_t>(space), static_cast<uint32_t>(own),
                        static_cast<uint32_t>(first),
                        static_cast<uint32_t>(first + own + others - 1)});
      total += own;
      ++space;
    }
    if (total != events) return in_.bad(fmt::format("{} events in a batch of {}", total, events));
    return shares;
  }

  ByteReader in_;
  const LogShape& shape_;
  uint64_t event_count_ = 0;
  uint64_t process_count_ = 0;
};

}  // namespace

void ProcessMap::add_batch(BatchRange batch, const std::vector<SpaceShare>& shares) {
  batches_.push_back(batch);
  shares_.insert(shares_.end(), shares.begin(), shares.end());
  share_begins_.push_back(shares_.size());
}

std::optional<ProcessIndex> ProcessMap::owner(uint32_t space) const {
  const auto found = table_.spaces().find(space);
  return found == table_.spaces().end() ? std::nullopt : std::optional(found->second);
}

void ShareCounter::add(uint32_t space) {
  const bool same = latest_ < shares_.size() && shares_[latest_].space == space;
  if (!same) {
    latest_ = static_cast<size_t>(
        std::find_if(shares_.begin(), shares_.end(),
                     [space](const SpaceShare& share) { return share.space == space; }) -
        shares_.begin());
  }
  if (latest_ == shares_.size()) shares_.push_back({space, 0, count_, count_});
  SpaceShare& share = shares_[latest_];
  ++share.count;
  share.last = count_++;
}

std::vector<SpaceShare> ShareCounter::take() {
  std::vector<SpaceShare> taken = std::move(shares_);
  std::sort(taken.begin(), taken.end(),
            [](const SpaceShare& a, const SpaceShare& b) { return a.space < b.space; });
  *this = {};
  return taken;
}

Bytes encode_processes(const ProcessTable& table,
                       const std::vector<std::vector<SpaceShare>>& batches) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.varint(table.processes().size());
  for (const Process& process : table.processes()) write_process(out, process);
  const std::map<uint32_t, ProcessIndex> spaces(table.spaces().begin(), table.spaces().end());
  out.varint(spaces.size());
  uint64_t next = 0;
  for (const auto& [space, owner] : spaces) {
    out.varint(space - next);
    out.varint(owner.value);
    next = uint64_t{space} + 1;
  }
  out.varint(batches.size());
  for (const std::vector<SpaceShare>& shares : batches) {
    out.varint(shares.size());
    next = 0;
    for (const SpaceShare& share : shares) {
      out.varint(share.space - next);
      out.varint(share.first);
      out.varint(share.count);
      out.varint(share.last - share.first + 1 - share.count);
      next = uint64_t{share.space} + 1;
    }
  }
  return bytes;
}

Result<ProcessMap> decode_processes(ByteView bytes, const LogShape& shape, const std::string& what,
                                    uint64_t base_offset) {
  return Reader(bytes, shape, what, base_offset).read();
}

}  // namespace rchk::trace
