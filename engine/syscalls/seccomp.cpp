#include "engine/syscalls/seccomp.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <sys/syscall.h>

namespace rchk::syscalls {

namespace {

// include/uapi/linux/bpf_common.h, include/linux/seccomp.h
constexpr size_t kMostInstructions = BPF_MAXINSNS;
constexpr size_t kMostInAllFilters = (1 << 18) / sizeof(sock_filter);
constexpr size_t kEachFilterCosts = 4;
constexpr uint32_t kWords = BPF_MEMWORDS;
constexpr uint32_t kMostShift = 31;

bool is_known(uint16_t code) {
  switch (code) {
    case BPF_LD | BPF_W | BPF_ABS:
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_LD | BPF_IMM:
    case BPF_LDX | BPF_IMM:
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
    case BPF_MISC | BPF_TAX:
    case BPF_MISC | BPF_TXA:
    case BPF_RET | BPF_K:
    case BPF_RET | BPF_A:
    case BPF_ALU | BPF_NEG:
    case BPF_JMP | BPF_JA:
      return true;
    default:
      break;
  }
  const uint16_t operation = code & ~BPF_X;
  switch (operation) {
    case BPF_ALU | BPF_ADD:
    case BPF_ALU | BPF_SUB:
    case BPF_ALU | BPF_MUL:
    case BPF_ALU | BPF_DIV:
    case BPF_ALU | BPF_AND:
    case BPF_ALU | BPF_OR:
    case BPF_ALU | BPF_XOR:
    case BPF_ALU | BPF_LSH:
    case BPF_ALU | BPF_RSH:
    case BPF_JMP | BPF_JEQ:
    case BPF_JMP | BPF_JGE:
    case BPF_JMP | BPF_JGT:
    case BPF_JMP | BPF_JSET:
      return true;
    default:
      return false;
  }
}

bool is_conditional(uint16_t code) { return BPF_CLASS(code) == BPF_JMP && BPF_OP(code) != BPF_JA; }

bool is_well_formed(const sock_filter& instruction, size_t behind) {
  const uint32_t k = instruction.k;
  switch (instruction.code) {
    case BPF_LD | BPF_W | BPF_ABS:
      return k < sizeof(seccomp_data) && k % sizeof(uint32_t) == 0;
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
      return k < kWords;
    case BPF_ALU | BPF_DIV | BPF_K:
      return k != 0;
    case BPF_ALU | BPF_LSH | BPF_K:
    case BPF_ALU | BPF_RSH | BPF_K:
      return k <= kMostShift;
    case BPF_JMP | BPF_JA:
      return k < behind;
    default:
      return !is_conditional(instruction.code) ||
             (instruction.jt < behind && instruction.jf < behind);
  }
}

// Whether no word is read that was not written, on any way there (check_load_and_stores).
bool reads_what_it_wrote(const std::vector<sock_filter>& program) {
  using Words = uint16_t;  // a bit for each that is written
  std::vector<Words> at_entry(program.size(), ~Words{0});
  Words written = 0;
  for (size_t i = 0; i < program.size(); ++i) {
    const sock_filter& instruction = program[i];
    written &= at_entry[i];
    switch (instruction.code) {
      case BPF_ST:
      case BPF_STX:
        written |= static_cast<Words>(1u << instruction.k);
        break;
      case BPF_LD | BPF_MEM:
      case BPF_LDX | BPF_MEM:
        if ((written >> instruction.k & 1) == 0) return false;
        break;
      case BPF_JMP | BPF_JA:
        at_entry[i + 1 + instruction.k] &= written;
        written = ~Words{0};
        break;
      default:
        if (!is_conditional(instruction.code)) break;
        at_entry[i + 1 + instruction.jt] &= written;
        at_entry[i + 1 + instruction.jf] &= written;
        written = ~Words{0};
    }
  }
  return true;
}

uint32_t compute(uint16_t code, uint32_t a, uint32_t b) {
  switch (BPF_OP(code)) {
    case BPF_ADD:
      return a + b;
    case BPF_SUB:
      return a - b;
    case BPF_MUL:
      return a * b;
    case BPF_DIV:
      return a / b;
    case BPF_AND:
      return a & b;
    case BPF_OR:
      return a | b;
    case BPF_XOR:
      return a ^ b;
    case BPF_LSH:
      return a << (b & kMostShift);
    case BPF_RSH:
      return a >> (b & kMostShift);
    default:  // BPF_NEG
      return 0 - a;
  }
}

bool holds(uint16_t code, uint32_t a, uint32_t b) {
  switch (BPF_OP(code)) {
    case BPF_JEQ:
      return a == b;
    case BPF_JGT:
      return a > b;
    case BPF_JGE:
      return a >= b;
    default:  // BPF_JSET
      return (a & b) != 0;
  }
}

}  // namespace

int check_filter(const std::vector<sock_filter>& program) {
  if (program.empty() || program.size() > kMostInstructions) return EINVAL;
  for (size_t i = 0; i < program.size(); ++i) {
    if (!is_known(program[i].code) || !is_well_formed(program[i], program.size() - i - 1)) {
      return EINVAL;
    }
  }
  return BPF_CLASS(program.back().code) == BPF_RET && reads_what_it_wrote(program) ? 0 : EINVAL;
}

uint32_t run_filter(const std::vector<sock_filter>& program, const seccomp_data& data) {
  uint32_t a = 0, x = 0;
  std::array<uint32_t, kWords> words{};
  for (size_t i = 0; i < program.size(); ++i) {
    const sock_filter& instruction = program[i];
    const uint16_t code = instruction.code;
    const uint32_t k = instruction.k;
    const uint32_t source = BPF_SRC(code) == BPF_X ? x : k;
    switch (BPF_CLASS(code)) {
      case BPF_LD:
      case BPF_LDX: {
        uint32_t& to = BPF_CLASS(code) == BPF_LD ? a : x;
        if (BPF_MODE(code) == BPF_ABS) {
          std::memcpy(&to, reinterpret_cast<const uint8_t*>(&data) + k, sizeof(to));
        } else {
          to = BPF_MODE(code) == BPF_LEN ? sizeof(data) : BPF_MODE(code) == BPF_MEM ? words[k] : k;
        }
        break;
      }
      case BPF_ST:
        words[k] = a;
        break;
      case BPF_STX:
        words[k] = x;
        break;
      case BPF_ALU:
        if (BPF_OP(code) == BPF_DIV && source == 0) return SECCOMP_RET_KILL_THREAD;
        a = compute(code, a, source);
        break;
      case BPF_JMP:
        if (BPF_OP(code) == BPF_JA) {
          i += k;
        } else {
          i += holds(code, a, source) ? instruction.jt : instruction.jf;
        }
        break;
      case BPF_RET:
        return BPF_RVAL(code) == BPF_A ? a : k;
      default:  // BPF_MISC
        if (BPF_MISCOP(code) == BPF_TAX) {
          x = a;
        } else {
          a = x;
        }
    }
  }
  return SECCOMP_RET_KILL_PROCESS;
}

Sandbox::Mode Sandbox::mode() const {
  if (strict_) return Mode::kStrict;
  return newest_ ? Mode::kFilter : Mode::kNone;
}

bool Sandbox::set_strict() {
  if (newest_) return false;
  strict_ = true;
  return true;
}

int Sandbox::add(std::vector<sock_filter> program) {
  if (strict_) return EINVAL;
  if (const int error = check_filter(program)) return error;
  size_t total = program.size();
  for (const Filter* filter = newest_.get(); filter != nullptr; filter = filter->before.get()) {
    total += filter->program.size() + kEachFilterCosts;
  }
  if (total > kMostInAllFilters) return ENOMEM;
  newest_ = std::make_shared<const Filter>(Filter{std::move(program), newest_});
  return 0;
}

Verdict Sandbox::judge(const seccomp_data& data) const {
  if (strict_) {
    const bool allowed = data.nr == SYS_read || data.nr == SYS_write || data.nr == SYS_exit ||
                         data.nr == SYS_rt_sigreturn;
    return {allowed ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_THREAD, 0};
  }
  // The smallest action, as a signed number, and of equal ones the newest filter's
  // (kernel/seccomp.c, seccomp_run_filters).
  uint32_t least = SECCOMP_RET_ALLOW;
  for (const Filter* filter = newest_.get(); filter != nullptr; filter = filter->before.get()) {
    const uint32_t result = run_filter(filter->program, data);
    const auto action = static_cast<int32_t>(result & SECCOMP_RET_ACTION_FULL);
    if (action < static_cast<int32_t>(least & SECCOMP_RET_ACTION_FULL)) least = result;
  }
  return {least & SECCOMP_RET_ACTION_FULL, static_cast<uint16_t>(least & SECCOMP_RET_DATA)};
}

bool Sandbox::is_part_of(const Sandbox& other) const {
  if (mode() == Mode::kNone) return true;
  if (strict_) return false;
  for (const Filter* filter = other.newest_.get(); filter != nullptr;
       filter = filter->before.get()) {
    if (filter == newest_.get()) return true;
  }
  return false;
}

}  // namespace rchk::syscalls
