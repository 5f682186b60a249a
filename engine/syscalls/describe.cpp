#include "engine/syscalls/describe.h"

#include <array>
#include <cctype>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>

#include "engine/syscalls/ioctl.h"

namespace rchk::syscalls {
namespace {

constexpr size_t kLongestText = 64;
constexpr int kFirstRealTime = 32;  // SIGRTMIN of the kernel; libc keeps the first two
constexpr int kLastRealTime = 64;

// Text in quotes as C writes it; an ellipsis behind what was cut.
std::string quoted(const uint8_t* bytes, size_t count, bool cut) {
  std::string out = "\"";
  for (size_t i = 0; i < count; ++i) {
    const uint8_t letter = bytes[i];
    if (letter == '"' || letter == '\\') {
      out += '\\';
      out += static_cast<char>(letter);
    } else if (letter == '\n') {
      out += "\\n";
    } else if (std::isprint(letter) != 0) {
      out += static_cast<char>(letter);
    } else {
      out += fmt::format("\\x{:02x}", letter);
    }
  }
  out += cut ? "\"..." : "\"";
  return out;
}

std::string pointer(uint64_t value) { return value == 0 ? "NULL" : fmt::format("{:#x}", value); }

std::string text_at(uint64_t address, const MemoryReader* memory) {
  std::array<uint8_t, kLongestText> bytes{};
  if (memory == nullptr || address == 0) return pointer(address);
  const size_t read = memory->read({address}, bytes);
  if (read == 0) return pointer(address);
  const size_t length = strnlen(reinterpret_cast<const char*>(bytes.data()), read);
  return quoted(bytes.data(), length, length == read);
}

std::string data_at(uint64_t address, uint64_t count, const MemoryReader* memory) {
  std::array<uint8_t, kLongestText> bytes{};
  if (memory == nullptr || address == 0) return pointer(address);
  const size_t wanted = std::min<uint64_t>(count, bytes.size());
  const size_t read = memory->read({address}, std::span(bytes).first(wanted));
  if (read == 0 && wanted != 0) return pointer(address);
  return quoted(bytes.data(), read, read < count);
}

std::string describe_argument(const Syscall& row, const Call& call, size_t index,
                              const MemoryReader* memory) {
  const Argument& argument = row.arguments[index];
  const uint64_t value = call.arguments[index];
  if (row.number == nr::ioctl && index == 1) {
    const Ioctl* request = find_ioctl(static_cast<uint32_t>(value));
    if (request != nullptr) return std::string(request->name);
  }
  switch (argument.kind) {
    case ArgumentKind::kAbsent:
      return "";
    case ArgumentKind::kDescriptor:
      if (static_cast<int>(value) == AT_FDCWD) return "AT_FDCWD";
      return fmt::format("{}", static_cast<int>(value));
    case ArgumentKind::kInteger:
    case ArgumentKind::kCount:
    case ArgumentKind::kPid:
      return fmt::format("{}", static_cast<int32_t>(value));
    case ArgumentKind::kSize:
      return fmt::format("{}", value);
    case ArgumentKind::kMode:
      return value == 0 ? "0" : fmt::format("0{:o}", static_cast<uint32_t>(value));
    case ArgumentKind::kSignal:
      return signal_name(static_cast<int>(value));
    case ArgumentKind::kPath:
    case ArgumentKind::kText:
      return text_at(value, memory);
    case ArgumentKind::kData:
      return data_at(value, call.arguments[argument.other], memory);
    case ArgumentKind::kHex:
      return value == 0 ? "0" : fmt::format("{:#x}", value);
    case ArgumentKind::kInput:
    case ArgumentKind::kAddress:
    case ArgumentKind::kDataVector:
    case ArgumentKind::kOutput:
    case ArgumentKind::kOutputAlways:
    case ArgumentKind::kFilled:
    case ArgumentKind::kFilledVector:
    case ArgumentKind::kSized:
    case ArgumentKind::kWithLength:
    case ArgumentKind::kOutputText:
    case ArgumentKind::kByCode:
      return pointer(value);
  }
  return "";
}

std::string describe_result(const Syscall* row, int64_t result) {
  if (is_error(result)) return fmt::format("-{}", errno_name(static_cast<int>(-result)));
  if (row != nullptr && row->returns == Returns::kAddress) {
    return pointer(static_cast<uint64_t>(result));
  }
  return fmt::format("{}", result);
}

}  // namespace

std::string describe_call(const Call& call, std::optional<int64_t> result,
                          const MemoryReader* memory) {
  const Syscall* row = find(call.number);
  std::string out = name(call.number) + "(";
  const size_t count = row != nullptr ? row->argument_count() : kMaxArguments;
  for (size_t i = 0; i < count; ++i) {
    if (i != 0) out += ", ";
    out += row != nullptr ? describe_argument(*row, call, i, memory)
                          : fmt::format("{:#x}", call.arguments[i]);
  }
  out += ")";
  if (result) out += " = " + describe_result(row, *result);
  return out;
}

std::string errno_name(int errno_value) {
  // include/linux/errno.h: never seen by programs, but by tracers.
  switch (errno_value) {
    case 512:
      return "ERESTARTSYS";
    case 513:
      return "ERESTARTNOINTR";
    case 514:
      return "ERESTARTNOHAND";
    case 516:
      return "ERESTART_RESTARTBLOCK";
    default:
      break;
  }
  const char* known = strerrorname_np(errno_value);
  return known != nullptr ? known : fmt::format("errno {}", errno_value);
}

std::string signal_name(int number) {
  if (number >= kFirstRealTime && number <= kLastRealTime) {
    return number == kFirstRealTime ? "SIGRTMIN"
                                    : fmt::format("SIGRTMIN+{}", number - kFirstRealTime);
  }
  const char* known = sigabbrev_np(number);
  return known != nullptr ? fmt::format("SIG{}", known) : fmt::format("signal {}", number);
}

}  // namespace rchk::syscalls
