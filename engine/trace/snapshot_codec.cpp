// Coding of page snapshots (docs/trace-format.md, "Snapshots").

#include "engine/trace/codec.h"
#include "engine/trace/codec_detail.h"

namespace rchk::trace {
namespace {

using snapshot::PageChange;
using snapshot::PageVersion;

constexpr uint8_t kInCall = 1;
// Flags of a process in a beginning.
constexpr uint8_t kFirstProcess = 1, kProcessInCall = 2, kHasParent = 4;

void write_pages(ByteWriter& out, const std::vector<PageChange>& pages) {
  out.varint(pages.size());
  uint64_t next = 0;
  for (const PageChange& change : pages) {
    const uint64_t number = change.page.value / kPageSize;
    out.varint(number - next);
    next = number + 1;
    const PageVersion& version = change.version;
    out.value(static_cast<uint8_t>(static_cast<uint8_t>(version.kind) | version.slot << 4));
    if (version.is_kept()) out.value(version.chunk);
    if (version.is_kept()) out.value(version.xxh3);
  }
}

Result<std::vector<PageChange>> read_pages(ByteReader& in) {
  RCHK_TRY_ASSIGN(const uint64_t count, in.varint());
  if (count > in.remaining()) return in.bad(fmt::format("a list of {} pages", count));
  std::vector<PageChange> pages;
  uint64_t next = 0;
  for (uint64_t i = 0; i < count; ++i) {
    RCHK_TRY_ASSIGN(const uint64_t distance, in.varint());
    const uint64_t number = next + distance;
    if (number < next || number > UINT64_MAX / kPageSize) return in.bad("a page beyond memory");
    next = number + 1;
    PageChange& change = pages.emplace_back();
    change.page = {number * kPageSize};
    RCHK_TRY_ASSIGN(const auto head, in.value<uint8_t>());
    const uint8_t kind = head & 0xf;
    if (kind > static_cast<uint8_t>(PageVersion::Kind::kDifference)) {
      return in.bad(fmt::format("{} is no kind of page", kind));
    }
    change.version.kind = static_cast<PageVersion::Kind>(kind);
    change.version.slot = head >> 4;
    if (!change.version.is_kept()) continue;
    RCHK_TRY_ASSIGN(change.version.chunk, in.value<uint32_t>());
    RCHK_TRY_ASSIGN(change.version.xxh3, in.value<uint64_t>());
  }
  return pages;
}

void write_task(ByteWriter& out, const WaitingTask& task) {
  out.value(task.tid.value);
  out.value(static_cast<uint8_t>(task.in_call ? kInCall : 0));
  out.value(task.registers);
  out.blob(task.extended_state);
}

Result<WaitingTask> read_task(ByteReader& in) {
  WaitingTask task;
  RCHK_TRY_ASSIGN(task.tid.value, in.value<int32_t>());
  RCHK_TRY_ASSIGN(const auto flags, in.value<uint8_t>());
  if ((flags & ~kInCall) != 0) return in.bad("unknown flags of a task");
  task.in_call = (flags & kInCall) != 0;
  RCHK_TRY_ASSIGN(task.registers, in.value<Registers>());
  RCHK_TRY_ASSIGN(const ByteView state, in.blob());
  task.extended_state.assign(state.begin(), state.end());
  return task;
}

// Each begins so far behind the end of the one before, modulo 2^64.
void write_ranges(ByteWriter& out, const std::vector<AddressRange>& ranges) {
  out.varint(ranges.size());
  uint64_t end = 0;
  for (const AddressRange& range : ranges) {
    out.varint(detail::zigzag(range.begin.value - end));
    out.varint(range.size());
    end = range.end.value;
  }
}

Result<std::vector<AddressRange>> read_ranges(ByteReader& in) {
  RCHK_TRY_ASSIGN(const uint64_t count, in.varint());
  if (count > in.remaining()) return in.bad(fmt::format("a list of {} ranges", count));
  std::vector<AddressRange> ranges;
  uint64_t end = 0;
  for (uint64_t i = 0; i < count; ++i) {
    RCHK_TRY_ASSIGN(const uint64_t distance, in.varint());
    RCHK_TRY_ASSIGN(const uint64_t size, in.varint());
    const uint64_t begin = end + detail::unzigzag(distance);
    if (begin + size < begin) return in.bad("a range beyond the end of memory");
    ranges.push_back(range_of({begin}, size));
    end = begin + size;
  }
  return ranges;
}

Result<void> read_body(ByteReader& in, const std::string& what, DecodedSnapshot& decoded) {
  Snapshot& snapshot = decoded.snapshot;
  RCHK_TRY_ASSIGN(snapshot.program.value, in.varint());
  RCHK_TRY_ASSIGN(snapshot.cpu_ns, in.varint());
  RCHK_TRY_ASSIGN(snapshot.pause_ns, in.varint());
  const uint64_t offset = in.offset();
  RCHK_TRY_ASSIGN(const ByteView image, in.blob());
  RCHK_TRY_ASSIGN(std::vector<Event> events, decode_batch(image, 1, what, offset));
  snapshot.image = std::move(events.front());
  if (!std::holds_alternative<ExecEvent>(snapshot.image.body)) {
    return in.bad("a snapshot without an image");
  }
  RCHK_TRY_ASSIGN(const uint64_t tasks, in.varint());
  if (tasks > in.remaining()) return in.bad(fmt::format("a list of {} tasks", tasks));
  for (uint64_t i = 0; i < tasks; ++i) {
    RCHK_TRY_ASSIGN(snapshot.others.emplace_back(), read_task(in));
  }
  RCHK_TRY_ASSIGN(snapshot.unsettled, read_ranges(in));
  RCHK_TRY_ASSIGN(snapshot.touched, read_ranges(in));
  RCHK_TRY_ASSIGN(decoded.changes, read_pages(in));
  return {};
}

void write_process(ByteWriter& out, const Event& event) {
  const Resumed& resumed = *std::get<ExecEvent>(event.body).resumed;
  BatchEncoder image;
  image.add(event);
  out.blob(image.bytes());
  out.value(static_cast<uint8_t>((resumed.is_first ? kFirstProcess : 0) |
                                 (resumed.in_call ? kProcessInCall : 0) |
                                 (resumed.parent ? kHasParent : 0)));
  if (resumed.parent) out.value(*resumed.parent);
  out.varint(resumed.program.value);
  out.varint(resumed.arguments.size());
  for (const std::string& argument : resumed.arguments) out.text(argument);
  out.varint(resumed.others.size());
  for (const WaitingTask& task : resumed.others) write_task(out, task);
  write_pages(out, resumed.pages);
}

Result<Event> read_process(ByteReader& in, const std::string& what) {
  const uint64_t offset = in.offset();
  RCHK_TRY_ASSIGN(const ByteView image, in.blob());
  RCHK_TRY_ASSIGN(std::vector<Event> events, decode_batch(image, 1, what, offset));
  auto* const exec = std::get_if<ExecEvent>(&events.front().body);
  if (exec == nullptr) return in.bad("a process without an image");
  auto resumed = std::make_shared<Resumed>();
  RCHK_TRY_ASSIGN(const auto flags, in.value<uint8_t>());
  if ((flags & ~(kFirstProcess | kProcessInCall | kHasParent)) != 0) {
    return in.bad("unknown flags of a process");
  }
  resumed->is_first = (flags & kFirstProcess) != 0;
  resumed->in_call = (flags & kProcessInCall) != 0;
  if ((flags & kHasParent) != 0) {
    RCHK_TRY_ASSIGN(resumed->parent, in.value<int32_t>());
  }
  RCHK_TRY_ASSIGN(resumed->program.value, in.varint());
  RCHK_TRY_ASSIGN(const uint64_t arguments, in.varint());
  if (arguments > in.remaining()) return in.bad(fmt::format("a list of {} words", arguments));
  for (uint64_t i = 0; i < arguments; ++i) {
    RCHK_TRY_ASSIGN(resumed->arguments.emplace_back(), in.text());
  }
  RCHK_TRY_ASSIGN(const uint64_t tasks, in.varint());
  if (tasks > in.remaining()) return in.bad(fmt::format("a list of {} tasks", tasks));
  for (uint64_t i = 0; i < tasks; ++i) {
    RCHK_TRY_ASSIGN(resumed->others.emplace_back(), read_task(in));
  }
  RCHK_TRY_ASSIGN(resumed->pages, read_pages(in));
  exec->resumed = std::move(resumed);
  return std::move(events.front());
}

}  // namespace

Bytes encode_beginning(const Beginning& beginning) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.varint(beginning.snapshots);
  out.varint(beginning.processes.size());
  for (const Event& event : beginning.processes) write_process(out, event);
  return bytes;
}

Result<Beginning> decode_beginning(ByteView bytes, const std::string& what, uint64_t base_offset) {
  ByteReader in(bytes, what, base_offset);
  Beginning beginning;
  RCHK_TRY_ASSIGN(const uint64_t snapshots, in.varint());
  if (snapshots > UINT32_MAX) return in.bad("too many snapshots");
  beginning.snapshots = static_cast<uint32_t>(snapshots);
  RCHK_TRY_ASSIGN(const uint64_t processes, in.varint());
  if (processes == 0 || processes > in.remaining()) {
    return in.bad(fmt::format("a beginning of {} processes", processes));
  }
  for (uint64_t i = 0; i < processes; ++i) {
    RCHK_TRY_ASSIGN(beginning.processes.emplace_back(), read_process(in, what));
  }
  if (!in.at_end()) return in.bad("bytes behind a beginning");
  return beginning;
}

Bytes encode_snapshot(const Snapshot& snapshot, const std::vector<PageChange>& changes) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.varint(snapshot.program.value);
  out.varint(snapshot.cpu_ns);
  out.varint(snapshot.pause_ns);
  BatchEncoder image;
  image.add(snapshot.image);
  out.blob(image.bytes());
  out.varint(snapshot.others.size());
  for (const WaitingTask& task : snapshot.others) write_task(out, task);
  write_ranges(out, snapshot.unsettled);
  write_ranges(out, snapshot.touched);
  write_pages(out, changes);
  return bytes;
}

Result<DecodedSnapshot> decode_snapshot(ByteView bytes, const std::string& what,
                                        uint64_t base_offset) {
  ByteReader in(bytes, what, base_offset);
  DecodedSnapshot decoded;
  RCHK_TRY(read_body(in, what, decoded));
  if (!in.at_end()) return in.bad("bytes behind a snapshot");
  return decoded;
}

Bytes encode_pages(const std::vector<PageChange>& pages) {
  Bytes bytes;
  ByteWriter out(bytes);
  write_pages(out, pages);
  return bytes;
}

Result<std::vector<PageChange>> decode_pages(ByteView bytes, const std::string& what,
                                             uint64_t base_offset) {
  ByteReader in(bytes, what, base_offset);
  RCHK_TRY_ASSIGN(std::vector<PageChange> pages, read_pages(in));
  if (!in.at_end()) return in.bad("bytes behind a list of pages");
  return pages;
}

}  // namespace rchk::trace
