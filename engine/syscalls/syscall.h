#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "base/registers.h"
#include "base/types.h"

// The table of all system calls: what each is called, what it takes, what it may write to
// memory and how a recorder must treat it. The rows are in syscalls.def.
namespace rchk::syscalls {

// How a recorder must treat a call. What it does with a class is the recorder's policy.
enum class Class : uint8_t {
  kOutputs,       // returns at once; all it leaves is its result and outputs()
  kAddressSpace,  // changes what is mapped: see address_space.h
  kBlocks,        // as kOutputs, but may wait, so that another thread can run meanwhile
  kLife,          // makes or ends a thread or a process, or replaces a program
  kSignals,       // changes signal state, sends signals or waits for them
  kRefused,       // must not reach the kernel: the guest gets -refused_errno
};

// What a call is about; sorts dumps and statistics.
enum class Family : uint8_t {
  kFile,
  kDescriptor,
  kMemory,
  kProcess,
  kSignal,
  kTime,
  kNetwork,
  kIpc,
  kSync,
  kPoll,
  kScheduling,
  kSystem,
  kSecurity,
  kAio,
  kObsolete,  // the kernel answers ENOSYS
};

// What a call's result is when it is no error.
enum class Returns : uint8_t { kNothing, kNumber, kSize, kDescriptor, kAddress, kPid, kNever };

// What an argument is and, for a pointer, what is written behind it. `other` is the index of
// the argument that goes with it, `bytes` the size of the object or of one element.
enum class ArgumentKind : uint8_t {
  kAbsent,
  kInteger,  // 32 bits; the kernel ignores the high half
  kHex,      // flags and other bit sets
  kDescriptor,
  kMode,
  kSize,   // 64 bits
  kCount,  // 32 bits
  kPid,
  kSignal,
  kPath,        // a string of the guest's that names a file
  kText,        // another string of the guest's
  kInput,       // an object that the kernel only reads
  kAddress,     // an address that is not dereferenced, or not in this call
  kData,        // `other` bytes that go out through descriptor argument 0; the result says how many
  kDataVector,  // as kData, an array of `other` iovecs
  kOutput,      // `bytes` written when the call succeeds
  kOutputAlways,  // `bytes` written whatever the result
  kFilled,        // result * `bytes` written, at most `other` * `bytes`
  kFilledVector,  // an array of `other` iovecs into which the result's count of bytes goes
  kSized,         // `other` * `bytes` written when the call succeeds
  kWithLength,    // a buffer whose length was at *`other` (32 bits) before the call
  kOutputText,    // a string that ends with a zero byte
  kByCode,        // written as the row's code says
};

struct Argument {
  ArgumentKind kind = ArgumentKind::kAbsent;
  uint8_t other = 0;
  uint16_t bytes = 0;
};

inline constexpr size_t kMaxArguments = 6;

class Walk;
// Names the outputs that a row's arguments cannot; see walk.h.
using OutputCode = void (*)(Walk&);

struct Syscall {
  int32_t number = 0;
  std::string_view name;
  Class call_class = Class::kOutputs;
  Family family = Family::kFile;
  Returns returns = Returns::kNothing;
  int32_t refused_errno = 0;  // for kRefused
  OutputCode code = nullptr;
  std::array<Argument, kMaxArguments> arguments{};

  size_t argument_count() const;
};

// The numbers by name: nr::read, nr::mmap...
namespace nr {
#define RCHK_SYSCALL(number, name, ...) inline constexpr int32_t name = number;
#define RCHK_SYSCALL_CODE(number, name, ...) inline constexpr int32_t name = number;
#define RCHK_SYSCALL_REFUSED(number, name, ...) inline constexpr int32_t name = number;
#include "engine/syscalls/syscalls.def"
#undef RCHK_SYSCALL
#undef RCHK_SYSCALL_CODE
#undef RCHK_SYSCALL_REFUSED
}  // namespace nr

// A call as the guest made it. The arguments are rdi, rsi, rdx, r10, r8 and r9 (psABI A.2.1).
struct Call {
  int32_t number = 0;
  std::array<uint64_t, kMaxArguments> arguments{};

  bool operator==(const Call&) const = default;
  int descriptor(size_t index) const { return static_cast<int>(arguments[index]); }
};
Call call_of(int32_t number, const Registers& at_entry);

// The row of a call, or null when the table does not know the number: such a call must be
// recorded by what it changed. 32-bit calls (int 0x80) and the x32 ABI are not in the table.
const Syscall* find(int32_t number);
std::span<const Syscall> all();
// kOutputs for a number that the table does not know.
Class class_of(const Call& call);
constexpr bool is_exec(int64_t number) { return number == nr::execve || number == nr::execveat; }
// "read"; "syscall_1234" for a number that the table does not know.
std::string name(int32_t number);

// The errno to answer with instead of making the call: the errno of a kRefused row, or of the
// sub-function of a call that is otherwise fine (madvise with MADV_FREE, prctl with
// PR_SET_SECCOMP...). A guest sees what a kernel built without the feature answers. Empty: the
// call may be made.
std::optional<int> refusal(const Call& call);

// True for a result that says -errno, the kernel's internal restart codes included
// (include/linux/errno.h, ERESTARTSYS...), which a tracer sees and a guest does not.
constexpr bool is_error(int64_t result) { return result < 0 && result >= -4095; }

}  // namespace rchk::syscalls
