#include "gdbserver/protocol/agent_expression.h"

#include <array>
#include <limits>
#include <optional>

#include "gdbserver/protocol/register_map.h"

namespace rchk::protocol {
namespace {

// What is left out is refused: floating point (gdb does not compile it), trace state variables and
// the collecting of trace data, which mean nothing in a condition.
enum class Opcode : uint8_t {
#define RCHK_OPCODE(name, number) name = number,
#include "gdbserver/protocol/agent_opcodes.def"
#undef RCHK_OPCODE
};

// gdb's expressions are short; what runs longer loops.
constexpr int kMaxSteps = 10'000;
constexpr size_t kMaxDepth = 256;

class Machine {
 public:
  Machine(ByteView code, const target::MachineView& view) : code_(code), view_(view) {}

  Result<uint64_t> run();

 private:
  // What an opcode leads to.
  enum class Outcome : uint8_t { kNext, kEnd, kBad };

  Outcome step();
  Outcome step_memory_or_constant(Opcode opcode);
  Outcome step_stack(Opcode opcode);
  Outcome step_unary(Opcode opcode);
  Outcome step_binary(Opcode opcode);
  Outcome jump(bool conditional);
  Outcome constant(size_t bytes);
  Outcome reference(size_t bytes);

  std::optional<uint64_t> operand(size_t bytes);
  Outcome bad(const char* reason) {
    reason_ = reason;
    return Outcome::kBad;
  }
  Outcome push(uint64_t value);
  uint64_t pop() { return stack_[--depth_]; }
  bool has(size_t words) const { return depth_ >= words; }
  uint64_t& top(size_t below = 0) { return stack_[depth_ - 1 - below]; }

  ByteView code_;
  const target::MachineView& view_;
  size_t pc_ = 0;
  std::array<uint64_t, kMaxDepth> stack_;  // the first depth_ words count
  size_t depth_ = 0;
  const char* reason_ = "";
};

constexpr const char* kEmptyStack = "takes more from the stack than is there";

int64_t as_signed(uint64_t value) { return static_cast<int64_t>(value); }

uint64_t sign_extended(uint64_t value, uint64_t bits) {
  if (bits == 0 || bits >= 64) return value;
  const unsigned unused = static_cast<unsigned>(64 - bits);
  return static_cast<uint64_t>(as_signed(value << unused) >> unused);
}

uint64_t zero_extended(uint64_t value, uint64_t bits) {
  return bits >= 64 ? value : value & ((uint64_t{1} << bits) - 1);
}

Result<uint64_t> Machine::run() {
  for (int steps = 0; steps < kMaxSteps; ++steps) {
    const size_t at = pc_;
    const Outcome outcome = step();
    if (outcome == Outcome::kEnd) return top();
    if (outcome == Outcome::kBad) {
      return fail(ErrorKind::kMisuse, fmt::format("agent expression: byte {}: {}", at, reason_));
    }
  }
  return fail(ErrorKind::kMisuse, "agent expression: does not end");
}

Machine::Outcome Machine::step() {
  const auto byte = operand(1);
  if (!byte) return bad("runs past its end");
  const auto opcode = static_cast<Opcode>(*byte);
  switch (opcode) {
    case Opcode::kEnd:
      return has(1) ? Outcome::kEnd : bad(kEmptyStack);
    case Opcode::kRef8:
    case Opcode::kRef16:
    case Opcode::kRef32:
    case Opcode::kRef64:
    case Opcode::kConst8:
    case Opcode::kConst16:
    case Opcode::kConst32:
    case Opcode::kConst64:
    case Opcode::kReg:
      return step_memory_or_constant(opcode);
    case Opcode::kIfGoto:
      return jump(true);
    case Opcode::kGoto:
      return jump(false);
    case Opcode::kDup:
    case Opcode::kPop:
    case Opcode::kSwap:
    case Opcode::kPick:
    case Opcode::kRot:
      return step_stack(opcode);
    case Opcode::kLogNot:
    case Opcode::kBitNot:
    case Opcode::kExt:
    case Opcode::kZeroExt:
      return step_unary(opcode);
    case Opcode::kAdd:
    case Opcode::kSub:
    case Opcode::kMul:
    case Opcode::kDivSigned:
    case Opcode::kDivUnsigned:
    case Opcode::kRemSigned:
    case Opcode::kRemUnsigned:
    case Opcode::kLsh:
    case Opcode::kRshSigned:
    case Opcode::kRshUnsigned:
    case Opcode::kBitAnd:
    case Opcode::kBitOr:
    case Opcode::kBitXor:
    case Opcode::kEqual:
    case Opcode::kLessSigned:
    case Opcode::kLessUnsigned:
      return step_binary(opcode);
  }
  return bad("unknown opcode");
}

Machine::Outcome Machine::step_memory_or_constant(Opcode opcode) {
  switch (opcode) {
    case Opcode::kRef8:
      return reference(1);
    case Opcode::kRef16:
      return reference(2);
    case Opcode::kRef32:
      return reference(4);
    case Opcode::kRef64:
      return reference(8);
    case Opcode::kConst8:
      return constant(1);
    case Opcode::kConst16:
      return constant(2);
    case Opcode::kConst32:
      return constant(4);
    case Opcode::kConst64:
      return constant(8);
    default:
      break;
  }
  const auto number = operand(2);
  if (!number) return bad("runs past its end");
  const auto value =
      general_register(view_.registers(), RegisterNumber{static_cast<uint32_t>(*number)});
  return value ? push(*value) : bad("no such general register");
}

Machine::Outcome Machine::step_stack(Opcode opcode) {
  switch (opcode) {
    case Opcode::kDup:
      return has(1) ? push(top()) : bad(kEmptyStack);
    case Opcode::kPop:
      if (!has(1)) return bad(kEmptyStack);
      pop();
      return Outcome::kNext;
    case Opcode::kSwap:
      if (!has(2)) return bad(kEmptyStack);
      std::swap(top(), top(1));
      return Outcome::kNext;
    case Opcode::kPick: {
      const auto below = operand(1);
      if (!below) return bad("runs past its end");
      return has(*below + 1) ? push(top(*below)) : bad(kEmptyStack);
    }
    default:
      break;
  }
  // rot: a b c => c a b
  if (!has(3)) return bad(kEmptyStack);
  const uint64_t c = top(), b = top(1), a = top(2);
  top(2) = c;
  top(1) = a;
  top() = b;
  return Outcome::kNext;
}

Machine::Outcome Machine::step_unary(Opcode opcode) {
  std::optional<uint64_t> bits = 0;
  if (opcode == Opcode::kExt || opcode == Opcode::kZeroExt) bits = operand(1);
  if (!bits) return bad("runs past its end");
  if (!has(1)) return bad(kEmptyStack);
  uint64_t& value = top();
  switch (opcode) {
    case Opcode::kLogNot:
      value = value == 0 ? 1 : 0;
      break;
    case Opcode::kBitNot:
      value = ~value;
      break;
    case Opcode::kExt:
      value = sign_extended(value, *bits);
      break;
    default:
      value = zero_extended(value, *bits);
      break;
  }
  return Outcome::kNext;
}

Machine::Outcome Machine::step_binary(Opcode opcode) {
  if (!has(2)) return bad(kEmptyStack);
  const uint64_t b = pop(), a = pop();
  const bool divides = opcode == Opcode::kDivSigned || opcode == Opcode::kDivUnsigned ||
                       opcode == Opcode::kRemSigned || opcode == Opcode::kRemUnsigned;
  if (divides && b == 0) return bad("divides by zero");
  // The one quotient that does not fit wraps around, as all arithmetic here does.
  const bool overflows = as_signed(a) == std::numeric_limits<int64_t>::min() && as_signed(b) == -1;
  switch (opcode) {
    case Opcode::kAdd:
      return push(a + b);
    case Opcode::kSub:
      return push(a - b);
    case Opcode::kMul:
      return push(a * b);
    case Opcode::kDivSigned:
      return push(overflows ? a : static_cast<uint64_t>(as_signed(a) / as_signed(b)));
    case Opcode::kDivUnsigned:
      return push(a / b);
    case Opcode::kRemSigned:
      return push(overflows ? 0 : static_cast<uint64_t>(as_signed(a) % as_signed(b)));
    case Opcode::kRemUnsigned:
      return push(a % b);
    case Opcode::kLsh:
      return push(b < 64 ? a << b : 0);
    case Opcode::kRshSigned:
      return push(static_cast<uint64_t>(as_signed(a) >> (b < 64 ? b : 63)));
    case Opcode::kRshUnsigned:
      return push(b < 64 ? a >> b : 0);
    case Opcode::kBitAnd:
      return push(a & b);
    case Opcode::kBitOr:
      return push(a | b);
    case Opcode::kBitXor:
      return push(a ^ b);
    case Opcode::kEqual:
      return push(a == b ? 1 : 0);
    case Opcode::kLessSigned:
      return push(as_signed(a) < as_signed(b) ? 1 : 0);
    default:
      return push(a < b ? 1 : 0);  // kLessUnsigned
  }
}

Machine::Outcome Machine::jump(bool conditional) {
  const auto to = operand(2);
  if (!to) return bad("runs past its end");
  if (conditional) {
    if (!has(1)) return bad(kEmptyStack);
    if (pop() == 0) return Outcome::kNext;
  }
  pc_ = *to;
  return Outcome::kNext;
}

Machine::Outcome Machine::constant(size_t bytes) {
  const auto value = operand(bytes);
  return value ? push(*value) : bad("runs past its end");
}

Machine::Outcome Machine::reference(size_t bytes) {
  if (!has(1)) return bad(kEmptyStack);
  std::array<uint8_t, 8> raw = {};
  const std::span<uint8_t> wanted = std::span(raw).first(bytes);
  if (view_.read_memory(GuestAddress{top()}, wanted) != bytes) return bad("unreadable memory");
  uint64_t value = 0;
  std::memcpy(&value, raw.data(), sizeof(value));
  top() = value;
  return Outcome::kNext;
}

std::optional<uint64_t> Machine::operand(size_t bytes) {
  if (pc_ > code_.size() || code_.size() - pc_ < bytes) return std::nullopt;
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value = value << 8 | code_[pc_++];
  return value;
}

Machine::Outcome Machine::push(uint64_t value) {
  if (depth_ == kMaxDepth) return bad("fills the stack");
  stack_[depth_++] = value;
  return Outcome::kNext;
}

}  // namespace

Result<uint64_t> evaluate(ByteView bytecode, const target::MachineView& machine) {
  return Machine(bytecode, machine).run();
}

target::Condition condition_of(Bytes bytecode) {
  return [bytecode = std::move(bytecode)](const target::MachineView& machine) {
    const Result<uint64_t> value = evaluate(bytecode, machine);
    return !value || *value != 0;
  };
}

}  // namespace rchk::protocol
