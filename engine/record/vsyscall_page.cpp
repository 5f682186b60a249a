// Calls of the vsyscall page, which the kernel carries out without a stop. It asks seccomp filters
// about them (arch/x86/entry/vsyscall/vsyscall_64.c, emulate_vsyscall), so that a filter makes
// SIGSYS of them, and the recorder the call (docs/notes/recording.md).

#include "engine/record/vsyscall_page.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/file_io.h"
#include "engine/record/recorder_impl.h"
#include "engine/trace/vsyscall.h"

namespace rchk::record {

namespace {

constexpr size_t kPieceBytes = 256 << 10;
constexpr uint8_t kThirdByte = 0x60;  // of an address in little endian, between the varying ones
constexpr uint64_t kAllOnes = 0xffffffff;

// Whether the 32 low bits of one of the three addresses begin at `at`.
bool is_low_half(std::span<const uint8_t> bytes, size_t at) {
  const uint8_t second = bytes[at + 1];
  return bytes[at] == 0 && (second == 0 || second == 4 || second == 8) &&
         bytes[at + 2] == kThirdByte && bytes[at + 3] == 0xff;
}

// Whether a MOV of a sign-extended number ends with the four bytes at `at`: REX.W, C7, ModRM, and
// up to five bytes of an address.
bool ends_mov(std::span<const uint8_t> bytes, size_t at) {
  constexpr size_t kShortest = 3, kLongest = 8;
  for (size_t length = kShortest; length <= std::min(kLongest, at); ++length) {
    if ((bytes[at - length] & 0xf8) == 0x48 && bytes[at - length + 1] == 0xc7) return true;
  }
  return false;
}

GuestAddress called_at(const siginfo_t& info) {
  return {reinterpret_cast<uint64_t>(info.si_call_addr)};
}

bool is_of_vsyscall(const siginfo_t& info) {
  return info.si_signo == SIGSYS && info.si_code == kSeccompCode &&
         trace::kVsyscallPage.contains(called_at(info));
}

}  // namespace

bool holds_vsyscall_address(std::span<const uint8_t> bytes) {
  constexpr size_t kBefore = 2, kHalf = 4;
  if (bytes.size() < kHalf) return false;
  const uint8_t* const end = bytes.data() + bytes.size() - 1;
  for (const uint8_t* from = bytes.data() + kBefore; from < end; ++from) {
    from =
        static_cast<const uint8_t*>(std::memchr(from, kThirdByte, static_cast<size_t>(end - from)));
    if (from == nullptr) return false;
    const auto at = static_cast<size_t>(from - bytes.data()) - kBefore;
    if (!is_low_half(bytes, at)) continue;
    uint32_t high = 0;
    if (at + 2 * kHalf <= bytes.size()) std::memcpy(&high, bytes.data() + at + kHalf, kHalf);
    if (high == kAllOnes || ends_mov(bytes, at)) return true;
  }
  return false;
}

std::optional<bool> VsyscallFinder::known(snapshot::FileId id, uint64_t offset_bytes,
                                          uint64_t size_bytes) const {
  const auto found = known_.find(Part{id, offset_bytes, size_bytes});
  return found == known_.end() ? std::nullopt : std::optional(found->second);
}

bool VsyscallFinder::finds(snapshot::FileId id, const FileDescriptor& file, uint64_t offset_bytes,
                           uint64_t size_bytes) {
  constexpr uint64_t kOverlap = 15;
  bool& found = known_[Part{id, offset_bytes, size_bytes}];
  std::vector<uint8_t> piece(kPieceBytes);
  for (uint64_t at = 0; !found && at < size_bytes; at += kPieceBytes - kOverlap) {
    const size_t wanted = std::min<uint64_t>(kPieceBytes, size_bytes - at);
    const size_t got = read_at(file.get(), offset_bytes + at, {piece.data(), wanted});
    found = holds_vsyscall_address({piece.data(), got});
    if (got < kPieceBytes) break;
  }
  return found;
}

// A program's own data, and code: what it calls by an address is in one of them.
Result<void> Recorder::Impl::watch_vsyscalls_of(const trace::Mapping& mapping) {
  if (task_->process->vsyscalls_trapped || !task_->space->confinement.vsyscall_page) return {};
  const bool counts = mapping.executable() || mapping.writable();
  if (!mapping.backing || mapping.shared || !counts) return {};
  const auto [id, offset] = *mapping.backing;
  std::optional<bool> found = vsyscalls_.known(id, offset, mapping.range.size());
  if (!found) {
    const auto file = open_mapped_file(
        pid(), {.range = mapping.range, .inode = files_.version(id).inode, .name = mapping.name});
    if (!file) return {};  // as when it was mapped, which has been said then
    found = vsyscalls_.finds(id, *file, offset, mapping.range.size());
  }
  return *found ? trap_vsyscalls() : Result<void>();
}

// Gives the process a filter for code in that page, which it and what it starts keep. (libseccomp's
// filters cannot ask for the place of a call.)
Result<void> Recorder::Impl::trap_vsyscalls() {
  constexpr uint32_t kHighHalf = offsetof(seccomp_data, instruction_pointer) + sizeof(uint32_t);
  constexpr sock_filter kCode[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kHighHalf),
                                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kAllOnes, 0, 1),
                                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
                                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  RCHK_TRY_ASSIGN(const int64_t result, install_filter(kCode));
  if (result != 0) return say_vsyscalls(static_cast<int>(-result));
  task_->process->vsyscalls_trapped = true;
  return {};
}

Result<int64_t> Recorder::Impl::install_filter(std::span<const sock_filter> code) {
  constexpr uint64_t kRedZoneBytes = 128;
  const size_t code_bytes = code.size() * sizeof(sock_filter);
  Bytes request(code_bytes + sizeof(sock_fprog));
  RCHK_TRY_ASSIGN(const Registers registers, task_->tracee.registers());
  const GuestAddress room{(registers.rsp - kRedZoneBytes - request.size()) & ~15ull};
  sock_fprog program{};
  program.len = static_cast<unsigned short>(code.size());
  program.filter = reinterpret_cast<sock_filter*>(room.value);
  std::memcpy(request.data(), code.data(), code_bytes);
  std::memcpy(request.data() + code_bytes, &program, sizeof(program));
  Bytes kept(request.size());
  if (task_->tracee.read_memory(room, kept) != kept.size()) return -EFAULT;
  RCHK_TRY(task_->tracee.write_memory(room, request));
  const auto install = [&] {
    return task_->tracee.remote_syscall(
        task_->space->confinement.gadget, SYS_seccomp,
        {SECCOMP_SET_MODE_FILTER, kFilterFlags, room.value + code_bytes});
  };
  RCHK_TRY_ASSIGN(int64_t result, install());
  if (result == -EACCES) {
    // Who traces a program keeps it from gaining privileges already.
    RCHK_TRY(task_->tracee.remote_syscall(task_->space->confinement.gadget, SYS_prctl,
                                          {PR_SET_NO_NEW_PRIVS, 1}));
    RCHK_TRY_ASSIGN(result, install());
  }
  RCHK_TRY(task_->tracee.write_memory(room, kept));
  // With TSYNC a thread that has other filters than this one is what it says.
  return result > 0 ? -EBUSY : result;
}

Result<void> Recorder::Impl::say_vsyscalls(int error) {
  say_once(
      fmt::format("The program may call the vsyscall page, and a seccomp filter cannot be set "
                  "for it ({}): a replay will stop where it does.",
                  std::generic_category().message(error)));
  return {};
}

// Whether task_ stands behind a call in that page that is yet to be made.
bool Recorder::Impl::stands_in_vsyscall() const {
  if (!task_->process->vsyscalls_trapped) return false;
  const auto pending = task_->tracee.pending_signals();
  return pending && std::any_of(pending->begin(), pending->end(), is_of_vsyscall);
}

// True if the signal came of a call in that page, which has been made now.
Result<bool> Recorder::Impl::emulate_vsyscall(const siginfo_t& info, Registers after) {
  if (!is_of_vsyscall(info)) return false;
  // The kernel has returned from it.
  PendingCall call;
  call.before = after;
  call.before.rip = called_at(info).value;
  call.before.rsp -= sizeof(uint64_t);
  call.before.rax = static_cast<uint64_t>(info.si_syscall);
  call.before.orig_rax = kNoCall;
  call.entered_ns = now_ns();
  call.entry = syscalls::at_entry(syscalls::call_of(info.si_syscall, call.before),
                                  GuestReader(task_->tracee));
  RCHK_TRY(undo_force(SIGSYS));
  RCHK_TRY_ASSIGN(const int64_t result,
                  task_->tracee.remote_syscall(task_->space->confinement.gadget, info.si_syscall,
                                               {after.rdi, after.rsi, after.rdx}));
  after.rax = static_cast<uint64_t>(result);
  after.orig_rax = kNoCall;
  RCHK_TRY(task_->tracee.set_registers(after));
  RCHK_TRY_ASSIGN(trace::SyscallEvent event, event_of(call, after, result));
  RCHK_TRY(append_trap(std::move(event), after));
  return true;
}

}  // namespace rchk::record
