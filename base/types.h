#pragma once

#include <compare>
#include <cstdint>
#include <functional>

#include <fmt/format.h>

namespace rchk {

inline constexpr uint64_t kPageSize = 4096;

// An address in a guest's address space. Never dereferenced by rchk itself.
struct GuestAddress {
  uint64_t value = 0;

  auto operator<=>(const GuestAddress&) const = default;
  constexpr GuestAddress operator+(uint64_t bytes) const { return {value + bytes}; }
  constexpr GuestAddress operator-(uint64_t bytes) const { return {value - bytes}; }
  constexpr uint64_t operator-(GuestAddress other) const { return value - other.value; }
  constexpr GuestAddress page_floor() const { return {value & ~(kPageSize - 1)}; }
  constexpr GuestAddress page_ceiling() const {
    return {(value + kPageSize - 1) & ~(kPageSize - 1)};
  }
};

// A half-open range of guest addresses, [begin, end).
struct AddressRange {
  GuestAddress begin;
  GuestAddress end;

  auto operator<=>(const AddressRange&) const = default;
  constexpr uint64_t size() const { return end.value - begin.value; }
  bool empty() const { return end <= begin; }
  bool contains(GuestAddress address) const { return begin <= address && address < end; }
  bool contains(AddressRange other) const { return begin <= other.begin && other.end <= end; }
  bool overlaps(AddressRange other) const { return begin < other.end && other.begin < end; }
  // The smallest range of whole pages that covers this one.
  AddressRange pages() const { return {begin.page_floor(), end.page_ceiling()}; }
};

constexpr AddressRange range_of(GuestAddress begin, uint64_t bytes) {
  return {begin, begin + bytes};
}

// A kernel thread id, as the recorder's own pid namespace sees it.
struct Tid {
  int32_t value = 0;
  auto operator<=>(const Tid&) const = default;
};

// Numbers events from 0 across a recording; event 0 is the start of the program.
struct EventNumber {
  uint64_t value = 0;
  auto operator<=>(const EventNumber&) const = default;
  EventNumber next() const { return {value + 1}; }
};

// A point in a recording's history: what "time" means everywhere. Totally ordered.
//
// `event` has been applied, `anchor` state-matched snapshots have followed it (see
// docs/design.md), and since the later of these two `instructions` have retired. A string
// instruction with a rep prefix is one instruction; a point inside it is told by
// `rep_iterations`, the iterations that it has completed.
struct Position {
  EventNumber event;
  uint32_t anchor = 0;
  uint64_t instructions = 0;
  uint64_t rep_iterations = 0;

  auto operator<=>(const Position&) const = default;
};

}  // namespace rchk

template <>
struct std::hash<rchk::GuestAddress> {
  size_t operator()(rchk::GuestAddress address) const noexcept {
    return std::hash<uint64_t>()(address.value);
  }
};

template <>
struct fmt::formatter<rchk::GuestAddress> : fmt::formatter<uint64_t> {
  auto format(rchk::GuestAddress address, format_context& context) const {
    return fmt::format_to(context.out(), "{:#x}", address.value);
  }
};

template <>
struct fmt::formatter<rchk::AddressRange> : fmt::formatter<uint64_t> {
  auto format(rchk::AddressRange range, format_context& context) const {
    return fmt::format_to(context.out(), "{:#x}-{:#x}", range.begin.value, range.end.value);
  }
};

template <>
struct fmt::formatter<rchk::EventNumber> : fmt::formatter<uint64_t> {
  auto format(rchk::EventNumber number, format_context& context) const {
    return fmt::format_to(context.out(), "{}", number.value);
  }
};

template <>
struct fmt::formatter<rchk::Position> : fmt::formatter<uint64_t> {
  auto format(const rchk::Position& position, format_context& context) const {
    auto out = fmt::format_to(context.out(), "{}", position.event.value);
    if (position.anchor != 0) out = fmt::format_to(out, ".{}", position.anchor);
    out = fmt::format_to(out, "+{}", position.instructions);
    if (position.rep_iterations != 0) out = fmt::format_to(out, "/{}", position.rep_iterations);
    return out;
  }
};
