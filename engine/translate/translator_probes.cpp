#include <cstring>

#include "engine/translate/translator.h"

// The state probe: an inline comparison that must cost little when it fails, which is nearly
// always.
namespace rchk::translate {

#define SLOT(name) offsetof(StatePage, name)

namespace {

struct NamedRegister {
  Register number;
  uint64_t Registers::*value;
};

// Those that loops change first.
constexpr NamedRegister kOrder[] = {
    {kRcx, &Registers::rcx}, {kRdx, &Registers::rdx}, {kRsi, &Registers::rsi},
    {kRdi, &Registers::rdi}, {kRbx, &Registers::rbx}, {kRbp, &Registers::rbp},
    {kR8, &Registers::r8},   {kR9, &Registers::r9},   {kR10, &Registers::r10},
    {kR12, &Registers::r12}, {kR13, &Registers::r13}, {kR14, &Registers::r14},
    {kR15, &Registers::r15}, {kRsp, &Registers::rsp}};

bool moves_under_rep(Register number) { return number == kRcx || number == kRsi || number == kRdi; }

// What lahf and seto al make of rflags: SF ZF AF PF CF and bit 1 in ah, OF in al.
uint32_t packed_flags(uint64_t rflags) {
  return static_cast<uint32_t>(((rflags & 0xd5) | 2) << 8 | ((rflags >> 11) & 1));
}

}  // namespace

void Translator::save_flags() {
  out_.store(SLOT(rax), kRax);
  out_.bytes(0x9f, 0x0f, 0x90, 0xc0);  // lahf; seto al
  out_.store(SLOT(flags), kRax);
}

void Translator::restore_flags() {
  out_.load(kRax, SLOT(flags));
  out_.bytes(0x04, 0x7f, 0x9e);  // add al, 127: overflows if al is 1; sahf
  out_.load(kRax, SLOT(rax));
}

void Translator::emit_compare(Register number, uint64_t expected, std::vector<uint8_t*>& failures) {
  out_.bytes(0x48 | (number >> 3) << 2, 0x3b,
             0x05 | (number & 7) << 3);  // cmp reg, [rip + literal]
  out_.dword(0);
  literals_.push_back({out_.pointer() - 4, out_.here(), expected});
  failures.push_back(out_.jump_if(kNotEqual, out_.here()));
}

// Compares the guest's code with what the trace was made from, byte by byte where it is short.
void Translator::emit_code_check(const Trace& trace) {
  std::vector<uint8_t*> failures;
  save_flags();
  for (const TraceStep& step : trace.steps) {
    size_t at = 0;
    // An opcode with the code at `at` as its operand, and `behind` bytes behind that. rax is free.
    auto with_operand = [&](std::initializer_list<uint8_t> opcode, uint8_t reg, size_t behind) {
      const uint64_t operand = step.pc + at;
      const bool near = reaches(operand);
      if (!near) out_.move_imm64(kRax, operand);
      for (const uint8_t byte : opcode) out_.byte(byte);
      constexpr uint8_t kRipRelative = 5, kInRax = 0;
      out_.byte(static_cast<uint8_t>(reg << 3 | (near ? kRipRelative : kInRax)));
      if (near) out_.dword(static_cast<uint32_t>(operand - (out_.here() + 4 + behind)));
    };
    for (; at + 8 <= step.instruction.length; at += 8) {
      uint64_t expected;
      std::memcpy(&expected, step.bytes.data() + at, 8);
      with_operand({0x48, 0x8b}, kRax, 0);  // mov rax, operand
      emit_compare(kRax, expected, failures);
    }
    for (; at < step.instruction.length; ++at) {
      with_operand({0x80}, 7, 1);  // cmp byte operand, imm8
      out_.byte(step.bytes[at]);
      failures.push_back(out_.jump_if(kNotEqual, out_.here()));
    }
  }
  restore_flags();
  uint8_t* same = out_.jump(out_.here());
  for (uint8_t* failure : failures) out_.bind(failure);
  restore_flags();
  out_.jump(cold_stub(add_site(ExitKind::kStale, request_->key.pc, 0), false));
  out_.bind(same);
}

void Translator::emit_state_probe(const StateProbe& probe, const TraceStep& step) {
  std::vector<uint8_t*> failures;
  save_flags();
  out_.load(kRax, SLOT(rax));
  emit_compare(kRax, probe.expected.rax, failures);
  for (const NamedRegister& entry : kOrder) {
    if (probe.inside_rep && moves_under_rep(entry.number)) continue;
    emit_compare(entry.number, probe.expected.*entry.value, failures);
  }
  out_.load(kRax, SLOT(r11));
  emit_compare(kRax, probe.expected.r11, failures);
  if (!probe.inside_rep) {
    out_.load(kRax, SLOT(flags));
    out_.bytes(0x66, 0x3d);  // cmp ax, imm16
    const uint32_t packed = packed_flags(probe.expected.rflags);
    out_.bytes(packed & 0xff, packed >> 8);
    failures.push_back(out_.jump_if(kNotEqual, out_.here()));
  }
  for (const WordProbe& word : probe.words) {
    out_.move_imm64(kRax, word.address.value);
    record(step, false);
    records_.back().flags_saved = true;
    out_.bytes(0x48, 0x8b, 0x00);  // mov rax, [rax]
    emit_compare(kRax, word.expected, failures);
  }
  restore_flags();
  out_.jump(cold_stub(add_site(ExitKind::kCandidate, step.pc, index_ - added_), false));
  for (uint8_t* failure : failures) out_.bind(failure);
  restore_flags();
}

}  // namespace rchk::translate
