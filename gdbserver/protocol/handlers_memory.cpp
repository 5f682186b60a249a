#include <algorithm>

#include <fmt/format.h>
#include <sys/mman.h>

#include "gdbserver/protocol/handlers.h"
#include "gdbserver/protocol/hex.h"

namespace rchk::protocol::handlers {
namespace {

// A reply holds at most two characters a byte.
constexpr uint64_t kMostBytesAtOnce = kMaxPacketBytes / 2 - 16;

// Reads as much of `range` as there is, into the context's buffer. Nothing: none of it.
std::optional<ByteView> read_range(Context& context, AddressRange range) {
  const size_t wanted = std::min(range.size(), kMostBytesAtOnce);
  if (context.scratch.size() < wanted) context.scratch.resize(wanted);
  const std::span<uint8_t> buffer = std::span(context.scratch).first(wanted);
  const size_t count = context.target().read_memory(range.begin, buffer);
  if (count == 0) return std::nullopt;
  return ByteView(buffer).first(count);
}

void write(Context& context, const std::optional<MemoryContents>& contents, Reply& reply) {
  if (!contents) return reply.error(PacketError::kMalformed);
  // gdb asks so whether X is known.
  if (contents->bytes.empty()) return reply.ok();
  if (!context.target().write_memory(contents->address, contents->bytes)) {
    return reply.error(PacketError::kBadMemory);
  }
  reply.ok();
}

}  // namespace

void read_memory(Context& context, std::string_view arguments, Reply& reply) {
  const auto range = parse_memory_range(arguments);
  if (!range) return reply.error(PacketError::kMalformed);
  if (range->empty()) return;
  const auto bytes = read_range(context, *range);
  if (!bytes) return reply.error(PacketError::kBadMemory);
  append_hex(reply.text(), *bytes);
}

void write_memory(Context& context, std::string_view arguments, Reply& reply) {
  write(context, parse_hex_contents(arguments), reply);
}

// gdb 16 and lldb 20 know from binary-upload+ that the bytes follow a b. lldb before that asks
// with x0,0 whether x is known, and expects the bare bytes from then on.
void read_memory_binary(Context& context, std::string_view arguments, Reply& reply) {
  const auto range = parse_memory_range(arguments);
  if (!range) return reply.error(PacketError::kMalformed);
  if (range->empty()) {
    context.client.raw_memory = context.client.raw_memory || range->begin.value == 0;
    return reply.ok();
  }
  const auto bytes = read_range(context, *range);
  if (!bytes) return reply.error(PacketError::kBadMemory);
  std::string& out = reply.binary();
  if (!context.client.raw_memory) out.push_back('b');
  append_escaped(out, *bytes);
}

void write_memory_binary(Context& context, std::string_view arguments, Reply& reply) {
  write(context, parse_binary_contents(arguments), reply);
}

void memory_region(Context& context, std::string_view arguments, Reply& reply) {
  target::MemoryMap* map = context.target().memory_map();
  if (map == nullptr) return;
  const auto address = parse_number(arguments);
  if (!address) return reply.error(PacketError::kMalformed);
  const target::MemoryRegion region = map->region_at(GuestAddress{*address});
  std::string& out = reply.text();
  out = fmt::format("start:{:x};size:{:x};", region.range.begin.value, region.range.size());
  // Without permissions, the region is not mapped.
  if (!region.mapped) return;
  out += "permissions:";
  if (region.readable) out.push_back('r');
  if (region.writable) out.push_back('w');
  if (region.executable) out.push_back('x');
  out.push_back(';');
  if (region.name.empty()) return;
  out += "name:";
  append_hex(out, region.name);
  out.push_back(';');
}

// `size,permissions`
void allocate_memory(Context& context, std::string_view arguments, Reply& reply) {
  target::Allocator* allocator = context.target().allocator();
  if (allocator == nullptr) return;
  PacketCursor cursor(arguments);
  const auto size = cursor.number();
  if (!size || !cursor.accept(',')) return reply.error(PacketError::kMalformed);
  int protection = 0;
  for (const char right : cursor.rest()) {
    if (right == 'r') {
      protection |= PROT_READ;
    } else if (right == 'w') {
      protection |= PROT_WRITE;
    } else if (right == 'x') {
      protection |= PROT_EXEC;
    } else {
      return reply.error(PacketError::kMalformed);
    }
  }
  const Result<GuestAddress> address = allocator->allocate(*size, protection);
  if (!address) return reply.error(PacketError::kFailed);
  append_number(reply.text(), address->value);
}

void deallocate_memory(Context& context, std::string_view arguments, Reply& reply) {
  target::Allocator* allocator = context.target().allocator();
  if (allocator == nullptr) return;
  const auto address = parse_number(arguments);
  if (!address) return reply.error(PacketError::kMalformed);
  if (!allocator->deallocate(GuestAddress{*address})) return reply.error(PacketError::kFailed);
  reply.ok();
}

void insert_stop_point(Context& context, std::string_view arguments, Reply& reply) {
  const auto packet = parse_stop_point(arguments);
  if (!packet) return reply.error(PacketError::kMalformed);
  if (!packet->known_type) return;
  const Result<void> inserted = context.processes.stop_points().insert(packet->point);
  bool& known = context.accepted_kinds[packet->point.kind];
  if (inserted) {
    known = true;
    return reply.ok();
  }
  // The empty reply says that there is no such kind: it must not follow an OK.
  if (inserted.error().kind != ErrorKind::kUnsupported || known) {
    reply.error(PacketError::kFailed);
  }
}

void remove_stop_point(Context& context, std::string_view arguments, Reply& reply) {
  const auto packet = parse_stop_point(arguments);
  if (!packet) return reply.error(PacketError::kMalformed);
  if (!packet->known_type) return;
  const Result<void> removed =
      context.processes.stop_points().remove(packet->point.kind, packet->point.range);
  if (!removed) return reply.error(PacketError::kFailed);
  reply.ok();
}

}  // namespace rchk::protocol::handlers
