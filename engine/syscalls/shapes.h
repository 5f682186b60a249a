#pragma once

#include "engine/syscalls/syscall.h"

// The words in which syscalls.def describes arguments. Only the table includes this.
namespace rchk::syscalls::shapes {

inline constexpr Argument integer{ArgumentKind::kInteger};
inline constexpr Argument hex{ArgumentKind::kHex};
inline constexpr Argument fd{ArgumentKind::kDescriptor};
inline constexpr Argument mode{ArgumentKind::kMode};
inline constexpr Argument size{ArgumentKind::kSize};
inline constexpr Argument count{ArgumentKind::kCount};
inline constexpr Argument pid{ArgumentKind::kPid};
inline constexpr Argument sig{ArgumentKind::kSignal};
inline constexpr Argument path{ArgumentKind::kPath};
inline constexpr Argument text{ArgumentKind::kText};
inline constexpr Argument in{ArgumentKind::kInput};
inline constexpr Argument address{ArgumentKind::kAddress};
inline constexpr Argument by_code{ArgumentKind::kByCode};
inline constexpr Argument out_text{ArgumentKind::kOutputText};

constexpr Argument data(uint8_t other) { return {ArgumentKind::kData, other, 1}; }
constexpr Argument iov_data(uint8_t other) { return {ArgumentKind::kDataVector, other, 16}; }
constexpr Argument out(uint16_t bytes) { return {ArgumentKind::kOutput, 0, bytes}; }
constexpr Argument out_always(uint16_t bytes) { return {ArgumentKind::kOutputAlways, 0, bytes}; }
constexpr Argument filled(uint8_t other, uint16_t element = 1) {
  return {ArgumentKind::kFilled, other, element};
}
constexpr Argument iov_filled(uint8_t other) { return {ArgumentKind::kFilledVector, other, 16}; }
constexpr Argument sized(uint8_t other, uint16_t element = 1) {
  return {ArgumentKind::kSized, other, element};
}
constexpr Argument with_length(uint8_t other) { return {ArgumentKind::kWithLength, other, 1}; }

}  // namespace rchk::syscalls::shapes
