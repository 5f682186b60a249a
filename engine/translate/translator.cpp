#include "engine/translate/translator.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "engine/translate/access.h"
#include "engine/translate/landing.h"

// How a block is laid out (docs/notes/translation.md has the reasons):
//
//   entry:   [kPrecise: leave unless the limit lies at or behind the end]
//            copies of the instructions, with a check of the limit in their midst
//            the last exit
//   behind:  paths of conditional exits: count, jump
//   apart:   stubs: say which exit it is, leave for the tracer
//   apart:   literals: return addresses that calls push
//
// Conditional exits jump straight to the next block when nothing is to be counted on the way.

namespace rchk::translate {

#define SLOT(name) offsetof(StatePage, name)

namespace {

// FIP, FCS and FOP, FDP, FDS, and where they stand in the image of FNSTENV (SDM vol. 1, 8.1.10).
constexpr size_t kX87Pointers = 4, kX87PointersOffset = 12;
size_t x87_slot(size_t i) { return SLOT(x87_pointers) + i * sizeof(uint32_t); }

// Whether the operand of an indirect jump or call is in rcx or at an address made from it.
bool operand_uses_rcx(const TraceStep& step) {
  constexpr uint8_t kRexX = 2, kRexB = 1;
  const Instruction& instruction = step.instruction;
  if (instruction.mod() == 3 || instruction.rm() != 4) {
    return instruction.rm() == kRcx && !(instruction.rex & kRexB);
  }
  const uint8_t sib = step.bytes[instruction.modrm_offset + 1];
  return ((sib & 7) == kRcx && !(instruction.rex & kRexB)) ||
         (((sib >> 3) & 7) == kRcx && !(instruction.rex & kRexX));
}

// Whether the block can be left in its midst, so that its exits say something.
bool has_side_exit(const Trace& trace) {
  return std::any_of(trace.steps.begin(), trace.steps.end(), [](const TraceStep& step) {
    return step.instruction.kind == InstructionClass::kConditionalJump;
  });
}

}  // namespace

Translator::Translator(Arena& arena, SiteTable& sites, Scratch& scratch)
    : arena_(arena),
      sites_(sites),
      out_(arena.hot_emitter()),
      cold_(arena.cold_emitter()),
      records_(scratch.records),
      side_exits_(scratch.side_exits),
      cold_exits_(scratch.cold_exits),
      literals_(scratch.literals),
      cold_watches_(scratch.cold_watches) {
  records_.clear();
  side_exits_.clear();
  cold_exits_.clear();
  literals_.clear();
  cold_watches_.clear();
}

void Translator::translate(const Trace& trace, const TranslationRequest& request, Block& block) {
  RCHK_CHECK(!trace.steps.empty());
  request_ = &request;
  block_ = &block;
  counts_ = request.profile != nullptr && has_side_exit(trace);
  block.key = request.key;
  block.depth = request.depth;
  block.instructions = static_cast<uint8_t>(trace.steps.size());
  block.first_site = sites_.size();
  block.flags_dead_at_entry = trace.steps[0].live_flags == 0;
  if (request.with_landing) emit_landing(out_, block, arena_.indirect_miss);
  block.entry = out_.here();
  if (trace.code_may_change) emit_code_check(trace);
  if (request.key.flavour == Flavour::kFast) plan_check(trace);
  if (is_precise(request.key.flavour)) {
    emit_precise_check();
  }
  for (const TraceStep& step : trace.steps) {
    emit_step(step);
    ++index_;
  }
  emit_end(trace);
  emit_side_exits();
  emit_cold_exits();
  emit_cold_watches();
  emit_literals();
  block.end = out_.here();
  block.last_site = sites_.size();
  RCHK_CHECK(out_.size() < kMaxBytes, "block of {} bytes", out_.size());
  arena_.take_hot(out_);
  arena_.take_cold(cold_);
}

// A block that closes a cycle checks the limit in its midst, at the first place where no flag that
// is set can be seen any more. It counts there in advance what the closing exit would count, so
// that a loop pays one add and one jump.
void Translator::plan_check(const Trace& trace) {
  const TraceStep& last = trace.steps.back();
  const bool closes = trace.end == TraceEnd::kBranch &&
                      last.instruction.kind != InstructionClass::kCounterJump &&
                      last.instruction.kind != InstructionClass::kCall;
  if (!closes && block_->depth < 1) return;
  bool exits = false;
  for (size_t i = 0; i < trace.steps.size(); ++i) {
    if (trace.steps[i].live_flags != 0) {
      exits = exits || trace.steps[i].instruction.kind == InstructionClass::kConditionalJump;
      continue;
    }
    check_at_ = static_cast<int>(i);
    check_adds_ = static_cast<int>(trace.steps.size());
    block_->checks_first = !exits;
    return;
  }
}

void Translator::emit_check(const TraceStep& step) {
  take_r11_out();
  out_.advance_counter_flags(check_adds_);
  added_ = check_adds_;
  const uint32_t site = add_site(ExitKind::kArrive, step.pc, index_ - added_);
  uint8_t* distance = out_.jump_if(kNotSign, out_.here());
  cold_exits_.push_back({distance, out_.here(), site, false});
  checked_ = true;
}

void Translator::emit_precise_check() {
  out_.store(SLOT(rcx), kRcx);
  out_.counter_sign_to_ecx(block_->instructions - 1);
  uint8_t* stop = out_.jecxz();
  uint8_t* go_on = out_.jump_short();
  out_.bind_short(stop);
  out_.jump(cold_stub(add_site(ExitKind::kArrive, request_->key.pc, 0), true));
  out_.bind_short(go_on);
  out_.load(kRcx, SLOT(rcx));
}

void Translator::emit_step(const TraceStep& step) {
  if (index_ == check_at_) emit_check(step);
  emit_probes(step);
  if (looks() && touches_memory(step.instruction)) emit_look(step);
  if (logs(request_->key.flavour)) emit_log(step);
  if (request_->keeps_x87_pointers) {
    emit_x87_pointers_before(step);
  } else if (sets_x87_pointer(step.instruction)) {
    out_.store_imm32(SLOT(x87_place), request_->x87_places->number_of(step.pc));
  } else if (needs_x87_pointer(step.instruction)) {
    emit_x87_check(step);
  }
  switch (step.instruction.kind) {
    case InstructionClass::kJump:
      break;  // the trace follows it, or its end jumps
    case InstructionClass::kConditionalJump:
      return emit_conditional(step);
    case InstructionClass::kCounterJump:
      return emit_counter_jump(step);
    case InstructionClass::kCall:
      return emit_call(step);
    case InstructionClass::kIndirectJump:
    case InstructionClass::kIndirectCall:
    case InstructionClass::kReturn:
      return emit_indirect(step);
    case InstructionClass::kInvalid:
      record(step, false);
      out_.bytes(0x0f, 0x0b);
      return;
    case InstructionClass::kOrdinary:
    case InstructionClass::kTrap:
    case InstructionClass::kSyscall:
    case InstructionClass::kTrapped:
    case InstructionClass::kFarReturn:
    case InstructionClass::kUnsupported:
      if (compares()) {
        emit_watched_copy(step);
      } else {
        emit_copy(step);
      }
      if (request_->keeps_x87_pointers) emit_x87_pointers_behind(step);
      return;
  }
}

void Translator::emit_probes(const TraceStep& step) {
  if (request_->probes == nullptr || (index_ == 0 && partial())) return;
  if (const auto probe = request_->probes->remembered_breakpoint(step.pc)) {
    take_r11_out();
    const uint32_t site = add_site(ExitKind::kRememberedHit, step.pc, index_ - added_);
    sites_[site].probe = *probe;
    out_.store(SLOT(hit_count), kR11);
    out_.store_imm32(SLOT(hit_site), site);
  }
  if (const StateProbe* state = request_->probes->state_probe(step.pc)) {
    take_r11_out();
    emit_state_probe(*state, step);
  }
}

void Translator::take_r11_in() {
  if (r11_in_) return;
  out_.store(SLOT(count), kR11);
  out_.load(kR11, SLOT(r11));
  r11_in_ = true;
}

void Translator::take_r11_out() {
  if (!r11_in_) return;
  out_.store(SLOT(r11), kR11);
  out_.load(kR11, SLOT(count));
  r11_in_ = false;
}

void Translator::record(const TraceStep& step, bool rcx_spilled) {
  InstructionRecord record;
  record.cache_offset = static_cast<uint16_t>(out_.here() - block_->entry);
  record.pc_delta = static_cast<int32_t>(step.pc - request_->key.pc);
  record.count_delta = static_cast<int8_t>(index_ - added_);
  record.r11_is_guest = r11_in_;
  record.rcx_spilled = rcx_spilled;
  record.traps = step.instruction.kind == InstructionClass::kTrap;
  records_.push_back(record);
}

uint64_t Translator::operand_of(const TraceStep& step) {
  int32_t displacement;
  std::memcpy(&displacement, step.bytes.data() + step.instruction.displacement_offset, 4);
  return step.next_pc() + static_cast<uint64_t>(int64_t{displacement});
}

// Whether what is emitted from here on reaches `operand` by 32 bits.
bool Translator::reaches(uint64_t operand) const {
  constexpr int64_t kLongestEmitted = 256;
  const auto distance = static_cast<int64_t>(operand - out_.here());
  return distance > INT32_MIN + kLongestEmitted && distance < INT32_MAX - kLongestEmitted;
}

void Translator::emit_copy(const TraceStep& step) {
  const Instruction& instruction = step.instruction;
  if (instruction.uses_r11) take_r11_in();
  if (instruction.rip_relative && !reaches(operand_of(step))) return emit_far_copy(step);
  record(step, false);
  uint8_t* copy = out_.pointer();
  out_.copy(step.bytes.data(), instruction.length);
  if (!instruction.rip_relative) return;
  const auto moved = static_cast<int32_t>(operand_of(step) - out_.here());
  std::memcpy(copy + instruction.displacement_offset, &moved, 4);
}

size_t Translator::prefix_offset(const TraceStep& step) {
  const Instruction& instruction = step.instruction;
  const size_t opcode = instruction.opcode_offset;
  switch (instruction.encoding) {
    case Encoding::kLegacy:  // 0F, 0F 38 and 0F 3A lie between REX and the opcode
      return opcode - std::min<size_t>(instruction.map, 2) - 1;
    case Encoding::kEvex:
      return opcode - 4;
    case Encoding::kVex:
      return step.bytes[opcode - 2] == 0xc5 && instruction.map == 1 ? opcode - 2 : opcode - 3;
  }
  return 0;
}

// One that the instruction does not use. With an rip-relative operand none uses rsi and rdi but as
// the operands that it names.
FarOperand Translator::far_operand(const TraceStep& step) {
  const Instruction& instruction = step.instruction;
  // The second operand of VEX and EVEX, inverted.
  constexpr uint8_t kNoRegister = 0xff;
  uint8_t second = kNoRegister;
  if (instruction.encoding != Encoding::kLegacy) {
    const size_t at = prefix_offset(step) + (instruction.encoding == Encoding::kEvex ? 2 : 0);
    const uint8_t byte = instruction.encoding == Encoding::kEvex
                             ? step.bytes[at]
                             : step.bytes[instruction.opcode_offset - 1u];
    second = static_cast<uint8_t>((~byte >> 3) & 7);
  }
  const auto is_free = [&](Register candidate) {
    return instruction.reg() != candidate && second != candidate;
  };
  if (is_free(kRsi)) return FarOperand::kRsi;
  return is_free(kRdi) ? FarOperand::kRdi : FarOperand::kRbx;
}

// With the operand's address in a register instead of the displacement, which goes.
void Translator::emit_far_copy(const TraceStep& step) {
  const Instruction& instruction = step.instruction;
  const FarOperand far = far_operand(step);
  const Register address = far == FarOperand::kRsi ? kRsi : far == FarOperand::kRdi ? kRdi : kRbx;
  out_.store(SLOT(lent), address);
  out_.move_imm64(address, operand_of(step));
  record(step, false);
  records_.back().far = far;
  uint8_t* copy = out_.pointer();
  const size_t behind = instruction.displacement_offset + 4u;
  out_.copy(step.bytes.data(), instruction.displacement_offset);
  out_.copy(step.bytes.data() + behind, instruction.length - behind);
  // [address], without the bit that makes it one of r8 to r15. VEX and EVEX keep it inverted, in
  // the byte behind their first; VEX of two bytes has none.
  constexpr uint8_t kNotRm = 0xf8, kRexB = 1, kInvertedB = 0x20, kShortVex = 0xc5;
  copy[instruction.modrm_offset] =
      static_cast<uint8_t>((copy[instruction.modrm_offset] & kNotRm) | address);
  const size_t prefix = prefix_offset(step);
  if (instruction.encoding == Encoding::kLegacy) {
    if (instruction.rex != 0) copy[prefix] &= static_cast<uint8_t>(~kRexB);
  } else if (copy[prefix] != kShortVex) {
    copy[prefix + 1] |= kInvertedB;
  }
  out_.load(address, SLOT(lent));
}

void Translator::emit_x87_check(const TraceStep& step) {
  take_r11_out();
  out_.store(SLOT(rcx), kRcx);
  out_.load32(kRcx, SLOT(x87_place));
  uint8_t* right = out_.jecxz();
  out_.jump(cold_stub(add_site(ExitKind::kX87Pointer, step.pc, index_ - added_), true));
  out_.bind_short(right);
  out_.load(kRcx, SLOT(rcx));
}

void Translator::emit_x87_pointers_before(const TraceStep& step) {
  const Instruction& instruction = step.instruction;
  if (x87_access(instruction) != X87Access::kSets) return;
  out_.store_imm32(x87_slot(0), static_cast<uint32_t>(step.pc));
  out_.store_imm32(x87_slot(1), x87_opcode_and_code_segment(instruction));
  if (!instruction.has_memory_operand()) return;
  if (instruction.uses_r11) take_r11_in();
  out_.store(SLOT(rcx), kRcx);
  emit_operand_address(step);
  out_.store32(x87_slot(2), kRcx);
  out_.load(kRcx, SLOT(rcx));
  out_.store_imm32(x87_slot(3),
                   x87_data_segment(instruction, step.bytes[instruction.modrm_offset + 1]));
}

void Translator::emit_x87_pointers_behind(const TraceStep& step) {
  const Instruction& instruction = step.instruction;
  const X87Access access = x87_access(instruction);
  if (access == X87Access::kNone || access == X87Access::kSets) return;
  const bool loads = access == X87Access::kLoads;
  if (access != X87Access::kClears) {
    out_.store(SLOT(rcx), kRcx);
    out_.store(SLOT(rax), kRax);
    emit_operand_address(step);
    for (size_t i = 0; i < kX87Pointers; ++i) {
      const auto offset = static_cast<uint8_t>(kX87PointersOffset + i * sizeof(uint32_t));
      if (!loads) out_.load32(kRax, x87_slot(i));
      if (instruction.segment != 0) out_.byte(instruction.segment);
      out_.bytes(loads ? 0x8b : 0x89, 0x41, offset);  // mov between eax and [rcx + offset]
      if (loads) out_.store32(x87_slot(i), kRax);
    }
    out_.load(kRax, SLOT(rax));
    out_.load(kRcx, SLOT(rcx));
  }
  if (access != X87Access::kClears && access != X87Access::kSaves) return;
  for (size_t i = 0; i < kX87Pointers; ++i) {
    out_.store_imm32(x87_slot(i), HostTranslationState::kNoX87Pointers[i]);
  }
}

void Translator::emit_conditional(const TraceStep& step) {
  const bool when_taken = !step.follows_target;
  const uint8_t condition = step.instruction.opcode & 15;
  uint8_t* distance = out_.jump_if(when_taken ? condition : condition ^ 1, out_.here());
  const Exit exit{when_taken ? step.target() : step.next_pc(), index_ + 1 - added_, depth_now(),
                  r11_in_};
  side_exits_.push_back({distance, out_.here(), exit, step.pc, when_taken});
}

// Its 8-bit distance leads over the exit that is not taken.
void Translator::emit_counter_jump(const TraceStep& step) {
  take_r11_out();
  if (step.instruction.address_size_32) out_.byte(0x67);
  out_.bytes(step.instruction.opcode, 0);
  uint8_t* taken = out_.pointer() - 1;
  const int delta = index_ + 1 - added_;
  emit_exit(out_, ExitKind::kDirect, {step.next_pc(), delta, depth_now(), false});
  out_.bind_short(taken);
  emit_exit(out_, ExitKind::kDirect, {step.target(), delta, depth_now(), false});
}

void Translator::emit_push(uint64_t value) {
  if (static_cast<int64_t>(value) == static_cast<int32_t>(value)) {
    out_.byte(0x68);
    out_.dword(static_cast<uint32_t>(value));
    return;
  }
  out_.bytes(0xff, 0x35);
  out_.dword(0);
  literals_.push_back({out_.pointer() - 4, out_.here(), value});
}

void Translator::emit_call(const TraceStep& step) {
  record(step, false);
  emit_push(step.next_pc());
  block_->return_point = step.next_pc();
  if (compares()) emit_watched_push(step);
  emit_exit(out_, ExitKind::kDirect, {step.target(), index_ + 1 - added_, depth_now(), r11_in_});
}

// Loads the target of an indirect jump or call into rcx.
void Translator::emit_indirect_operand(const TraceStep& step) {
  const Instruction& instruction = step.instruction;
  const bool far = instruction.rip_relative && !reaches(operand_of(step));
  if (far) out_.move_imm64(kRcx, operand_of(step));
  if (instruction.segment != 0) out_.byte(instruction.segment);
  if (instruction.address_size_32) out_.byte(0x67);
  if (far) return out_.bytes(0x48, 0x8b, 0x09);  // mov rcx, [rcx]
  out_.byte(static_cast<uint8_t>(0x48 | (instruction.rex & 3)));
  out_.byte(0x8b);
  const size_t rest = instruction.length - instruction.modrm_offset;
  uint8_t* copy = out_.pointer();
  out_.copy(step.bytes.data() + instruction.modrm_offset, rest);
  copy[0] = static_cast<uint8_t>((copy[0] & 0xc7) | kRcx << 3);
  if (!instruction.rip_relative) return;
  const auto displacement = static_cast<int32_t>(operand_of(step) - out_.here());
  std::memcpy(copy + 1, &displacement, 4);
}

void Translator::emit_indirect(const TraceStep& step) {
  const Instruction& instruction = step.instruction;
  const bool is_return = instruction.kind == InstructionClass::kReturn;
  if (!instruction.uses_r11 || !checked_) take_r11_out();
  out_.store(SLOT(rcx), kRcx);
  uint8_t* stop = nullptr;
  if (!checked_ && request_->key.flavour == Flavour::kFast) {
    out_.counter_sign_to_ecx(index_ - added_);
    stop = out_.jecxz();
    if (!is_return && operand_uses_rcx(step)) out_.load(kRcx, SLOT(rcx));
  }
  if (instruction.uses_r11) take_r11_in();
  record(step, true);
  if (is_return) {
    out_.byte(0x59);  // pop rcx
    if (instruction.immediate_bytes != 0) {
      out_.bytes(0x48, 0x8d, 0xa4, 0x24);  // lea rsp, [rsp + imm16]
      out_.dword(static_cast<uint32_t>(instruction.immediate & 0xffff));
    }
  } else {
    emit_indirect_operand(step);
  }
  take_r11_out();
  out_.store(SLOT(target), kRcx);
  if (instruction.kind == InstructionClass::kIndirectCall) {
    record(step, true);
    emit_push(step.next_pc());
    block_->return_point = step.next_pc();
    if (compares()) {
      const uint32_t site = add_watch_sites(step, 0);  // 0: at StatePage::target
      out_.load(kRcx, SLOT(rcx));
      emit_compare_watched(site, false, 0);
      out_.load(kRcx, SLOT(target));
    }
  }
  if (index_ + 1 != added_) out_.advance_counter(index_ + 1 - added_);
  if (counts()) {
    const uint32_t site = add_site(ExitKind::kIndirect, 0, 0);
    sites_[site].counter = request_->profile->take(site);
    emit_increment(out_, sites_[site].counter);
    out_.load32(kRcx, SLOT(target));
  }
  if (partial()) {
    out_.jump(cold_stub(0, true));
  } else {
    out_.jump_table(branch_table_offset(table()), SLOT(target));
  }
  if (stop != nullptr) {
    out_.bind_short(stop);
    out_.jump(cold_stub(add_site(ExitKind::kArrive, step.pc, index_ - added_), true));
  }
}

void Translator::emit_end(const Trace& trace) {
  const TraceStep& last = trace.steps.back();
  Exit exit{trace.next_pc, index_ - added_, depth_now(), r11_in_};
  switch (trace.end) {
    case TraceEnd::kStopBefore:
      emit_exit(out_, ExitKind::kArrive, exit);
      return;
    case TraceEnd::kFallThrough:
      emit_exit(out_, ExitKind::kDirect, exit);
      return;
    case TraceEnd::kBranch:
      break;
  }
  if (last.instruction.kind == InstructionClass::kJump) {
    exit.target = last.target();
  } else if (last.instruction.kind == InstructionClass::kConditionalJump) {
    exit.target = last.next_pc();
  } else {
    return;
  }
  emit_exit(out_, ExitKind::kDirect, exit);
}

void Translator::emit_side_exits() {
  for (const SideExit& side : side_exits_) {
    const Exit& exit = side.exit;
    const bool bare = exit.delta == 0 && !exit.r11_in && !partial() && !counts();
    uint32_t site;
    if (bare) {
      site = add_site(ExitKind::kDirect, exit.target, 0);
      const uint64_t stub = cold_stub(site, false);
      ExitSite& made = sites_[site];
      made.unchecked_depth = exit.depth;
      made.distance = side.distance;
      made.distance_end = side.distance_end;
      made.stub = stub;
      point(side.distance, side.distance_end, stub);
    } else {
      Emitter& out = counts() ? cold_ : out_;
      point(side.distance, side.distance_end, out.here());
      site = emit_exit(out, ExitKind::kDirect, exit);
    }
    ExitSite& made = sites_[site];
    made.is_conditional = true;
    made.leaves_when_taken = side.when_taken;
    made.branch_delta = static_cast<int32_t>(side.branch_pc - request_->key.pc);
  }
}

uint32_t Translator::emit_exit(Emitter& out, ExitKind kind, const Exit& exit) {
  if (exit.r11_in) {
    out.store(SLOT(r11), kR11);
    out.load(kR11, SLOT(count));
  }
  if (kind != ExitKind::kDirect || partial()) {
    const uint32_t site = add_site(ExitKind::kArrive, exit.target, exit.delta);
    if (counts()) emit_count(out, site);
    out.jump(cold_stub(site, false));
    return site;
  }
  if (exit.delta != 0) out.advance_counter(exit.delta);
  const uint32_t site = add_site(kind, exit.target, 0);
  if (counts()) emit_count(out, site);
  uint8_t* distance = out.jump(out.here());
  ExitSite& made = sites_[site];
  made.unchecked_depth = exit.depth;
  made.distance = distance;
  made.distance_end = out.here();
  made.stub = cold_stub(site, false);
  point(distance, made.distance_end, made.stub);
  return site;
}

void Translator::emit_increment(Emitter& out, uint32_t counter) {
  out.load32(kRcx, counter_offset(counter));
  out.bytes(0x8d, 0x49, 0x01);  // lea ecx, [rcx + 1]
  out.store32(counter_offset(counter), kRcx);
}

void Translator::emit_count(Emitter& out, uint32_t site) {
  sites_[site].counter = request_->profile->take(site);
  out.store(SLOT(rcx), kRcx);
  emit_increment(out, sites_[site].counter);
  out.load(kRcx, SLOT(rcx));
}

uint32_t Translator::add_site(ExitKind kind, uint64_t pc, int count_delta) {
  ExitSite site;
  site.kind = kind;
  site.pc = pc;
  site.count_delta = static_cast<int16_t>(count_delta);
  site.owner = block_;
  return sites_.add(site);
}

uint64_t Translator::cold_stub(uint32_t site, bool rcx_saved) {
  const uint64_t address = cold_.here();
  cold_.store_imm32(SLOT(exit_site), site);
  cold_.jump(rcx_saved ? arena_.leave_rcx_saved : arena_.leave);
  return address;
}

void Translator::point(uint8_t* distance, uint64_t distance_end, uint64_t target) {
  const auto value = static_cast<uint32_t>(target - distance_end);
  std::memcpy(distance, &value, 4);
}

void Translator::emit_cold_exits() {
  for (const ColdExit& exit : cold_exits_) {
    point(exit.distance, exit.distance_end, cold_stub(exit.site, exit.rcx_saved));
  }
}

void Translator::emit_literals() {
  if (literals_.empty()) return;
  Emitter out = arena_.literal_emitter();
  for (const Literal& literal : literals_) {
    point(literal.displacement, literal.displacement_end, out.here());
    out.qword(literal.value);
  }
  arena_.take_literals(out);
}

}  // namespace rchk::translate
