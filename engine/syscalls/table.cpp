#include <algorithm>
#include <array>
#include <cerrno>
#include <initializer_list>

#include <fmt/format.h>

#include "engine/syscalls/shapes.h"
#include "engine/syscalls/syscall.h"
#include "engine/syscalls/walk.h"

namespace rchk::syscalls {

// The rows, in the namespace whose words they use.
namespace shapes {
namespace {

constexpr std::array<Argument, kMaxArguments> arguments_of(std::initializer_list<Argument> list) {
  std::array<Argument, kMaxArguments> arguments{};
  std::copy(list.begin(), list.end(), arguments.begin());
  return arguments;
}

constexpr Syscall kTable[] = {
#define RCHK_SYSCALL(number, name, call_class, family, returns, ...)                           \
  Syscall{number, #name,   Class::k##call_class,       Family::k##family, Returns::k##returns, \
          0,      nullptr, arguments_of({__VA_ARGS__})},
#define RCHK_SYSCALL_CODE(number, name, call_class, family, returns, code, ...)              \
  Syscall{number, #name, Class::k##call_class,       Family::k##family, Returns::k##returns, \
          0,      code,  arguments_of({__VA_ARGS__})},
#define RCHK_SYSCALL_REFUSED(number, name, errno_value, family, returns, ...) \
  Syscall{number,                                                             \
          #name,                                                              \
          Class::kRefused,                                                    \
          Family::k##family,                                                  \
          Returns::k##returns,                                                \
          errno_value,                                                        \
          nullptr,                                                            \
          arguments_of({__VA_ARGS__})},
#include "engine/syscalls/syscalls.def"
#undef RCHK_SYSCALL
#undef RCHK_SYSCALL_CODE
#undef RCHK_SYSCALL_REFUSED
};

constexpr size_t kNumbers = 512;
constexpr uint16_t kNoRow = 0xffff;

constexpr std::array<uint16_t, kNumbers> rows_by_number() {
  std::array<uint16_t, kNumbers> rows{};
  rows.fill(kNoRow);
  for (size_t i = 0; i < std::size(kTable); ++i) {
    rows[static_cast<size_t>(kTable[i].number)] = static_cast<uint16_t>(i);
  }
  return rows;
}

constexpr std::array<uint16_t, kNumbers> kRows = rows_by_number();

}  // namespace
}  // namespace shapes

size_t Syscall::argument_count() const {
  return static_cast<size_t>(
      std::count_if(arguments.begin(), arguments.end(),
                    [](const Argument& one) { return one.kind != ArgumentKind::kAbsent; }));
}

Call call_of(int32_t number, const Registers& at_entry) {
  return {number,
          {at_entry.rdi, at_entry.rsi, at_entry.rdx, at_entry.r10, at_entry.r8, at_entry.r9}};
}

const Syscall* find(int32_t number) {
  if (number < 0 || static_cast<size_t>(number) >= shapes::kNumbers) return nullptr;
  const uint16_t row = shapes::kRows[static_cast<size_t>(number)];
  return row == shapes::kNoRow ? nullptr : &shapes::kTable[row];
}

Class class_of(const Call& call) {
  const Syscall* row = find(call.number);
  return row == nullptr ? Class::kOutputs : row->call_class;
}

std::span<const Syscall> all() { return shapes::kTable; }

std::string name(int32_t number) {
  const Syscall* row = find(number);
  return row != nullptr ? std::string(row->name) : fmt::format("syscall_{}", number);
}

}  // namespace rchk::syscalls
