#include <cstring>

#include "engine/translate/access.h"
#include "engine/translate/translator.h"

// Watching stores. The address of each store is looked up in a filter, inline and without touching
// flags; the few that pass run out of line and have the watched words compared behind them. So a
// hit is a store that changed a watched byte, whatever instruction made it.
namespace rchk::translate {

namespace {

// The filter needs BMI2; without it every store is compared behind.
bool can_filter() { return __builtin_cpu_supports("bmi2") != 0; }

}  // namespace

#define SLOT(name) offsetof(StatePage, name)

// lea rcx, operand
void Translator::emit_operand_address(const TraceStep& step) {
  const Instruction& instruction = step.instruction;
  if (instruction.rip_relative && !reaches(operand_of(step))) {
    const uint64_t operand = operand_of(step);
    return out_.move_imm64(kRcx, instruction.address_size_32 ? operand & 0xffffffff : operand);
  }
  if (instruction.address_size_32) out_.byte(0x67);
  out_.bytes(0x48 | (instruction.rex & 3), 0x8d);
  uint8_t modrm = static_cast<uint8_t>((instruction.modrm & 0xc7) | kRcx << 3);
  int32_t displacement = 0;
  if (instruction.displacement_bytes == 1) {
    displacement = static_cast<int8_t>(step.bytes[instruction.displacement_offset]) *
                   displacement_scale(instruction);
    modrm = static_cast<uint8_t>((modrm & 0x3f) | 0x80);
  } else if (instruction.displacement_bytes == 4) {
    std::memcpy(&displacement, step.bytes.data() + instruction.displacement_offset, 4);
  }
  out_.byte(modrm);
  if (instruction.rm() == 4) out_.byte(step.bytes[instruction.modrm_offset + 1]);
  if (instruction.displacement_bytes == 0) return;
  if (instruction.rip_relative) {
    const uint64_t operand = step.next_pc() + static_cast<uint64_t>(int64_t{displacement});
    displacement = static_cast<int32_t>(operand - (out_.here() + 4));
  }
  out_.dword(static_cast<uint32_t>(displacement));
}

// rcx: an address. Returns the place of the short jump that is taken when it cannot hit.
uint8_t* Translator::emit_watch_filter() {
  out_.bytes(0xc4, 0xe3, 0xfb, 0xf0, 0xc9, kWatchGranuleShift);  // rorx rcx, rcx, 6
  out_.load_byte_of(kWatchFilterOffset, SLOT(filter_index));
  return out_.jecxz();
}

uint32_t Translator::add_watch_sites(const TraceStep& step, uint64_t next_pc) {
  const uint32_t site = add_site(ExitKind::kRememberedHit, step.pc, index_ - added_);
  sites_[site].is_watchpoint = true;
  add_site(ExitKind::kWatchStop, next_pc, index_ + 1 - added_);
  return site;
}

void Translator::emit_compare_watched(uint32_t site, bool r11_in, uint64_t back) {
  if (r11_in) {
    out_.store(SLOT(r11), kR11);
    out_.load(kR11, SLOT(count));
  }
  out_.store(SLOT(rcx), kRcx);
  out_.store_imm32(SLOT(watch_site), site);
  out_.bytes(0x48, 0x8d, 0x0d);  // lea rcx, [rip + behind]
  uint8_t* behind = out_.pointer();
  out_.dword(0);
  out_.store(SLOT(return_to), kRcx);
  out_.jump(arena_.compare_watched);
  out_.bind(behind);
  // bind() counts from behind the distance itself, as lea does.
  if (r11_in) {
    out_.store(SLOT(count), kR11);
    out_.load(kR11, SLOT(r11));
  }
  if (back != 0) out_.jump(back);
}

void Translator::emit_watched_copy(const TraceStep& step) {
  StoreKind kind = store_kind(step.instruction);
  if (kind != StoreKind::kNone && !can_filter()) kind = StoreKind::kElsewhere;
  if (kind == StoreKind::kNone) return emit_copy(step);
  if (step.instruction.uses_r11) take_r11_in();
  const uint32_t site = add_watch_sites(step, step.next_pc());
  if (kind == StoreKind::kElsewhere) {
    emit_copy(step);
    return emit_compare_watched(site, r11_in_, 0);
  }
  out_.store(SLOT(rcx), kRcx);
  if (kind == StoreKind::kPush)
    out_.bytes(0x48, 0x8d, 0x4c, 0x24, 0xf8);  // lea rcx, [rsp - 8]
  else
    emit_operand_address(step);
  uint8_t* clean = emit_watch_filter();
  uint8_t* distance = out_.jump(out_.here());
  out_.bind_short(clean);
  out_.load(kRcx, SLOT(rcx));
  emit_copy(step);
  cold_watches_.push_back({distance, step, index_, r11_in_, out_.here(), site});
}

// Leaves in front of an instruction that may access watched memory, for the engine to look.
void Translator::emit_look(const TraceStep& step) {
  const Instruction& instruction = step.instruction;
  const AccessPlace place = can_filter() ? access_place(instruction) : AccessPlace::kElsewhere;
  if (instruction.uses_r11) take_r11_in();
  out_.store(SLOT(rcx), kRcx);
  uint8_t* clean = nullptr;
  if (place == AccessPlace::kStack) {
    out_.bytes(0x48, 0x8d, 0x4c, 0x24, 0xf8);
    clean = emit_watch_filter();
  } else if (place == AccessPlace::kOperand) {
    emit_operand_address(step);
    clean = emit_watch_filter();
  }
  const uint32_t site = add_site(ExitKind::kLook, step.pc, index_ - added_);
  if (r11_in_) {
    out_.store(SLOT(r11), kR11);
    out_.load(kR11, SLOT(count));
  }
  out_.jump(cold_stub(site, true));
  if (clean != nullptr) out_.bind_short(clean);
  out_.load(kRcx, SLOT(rcx));
}

// Behind the push of a direct call.
void Translator::emit_watched_push(const TraceStep& step) {
  const uint32_t site = add_watch_sites(step, step.target());
  if (!can_filter()) return emit_compare_watched(site, r11_in_, 0);
  out_.store(SLOT(rcx), kRcx);
  out_.bytes(0x48, 0x8d, 0x0c, 0x24);  // lea rcx, [rsp]
  uint8_t* clean = emit_watch_filter();
  out_.load(kRcx, SLOT(rcx));
  emit_compare_watched(site, r11_in_, 0);
  out_.store(SLOT(rcx), kRcx);
  out_.bind_short(clean);
  out_.load(kRcx, SLOT(rcx));
}

void Translator::emit_cold_watches() {
  const int index = index_;
  const bool r11_in = r11_in_;
  for (const ColdWatch& watch : cold_watches_) {
    out_.bind(watch.distance);
    index_ = watch.index;
    r11_in_ = watch.r11_in;
    out_.load(kRcx, SLOT(rcx));
    emit_copy(watch.step);
    emit_compare_watched(watch.site, watch.r11_in, watch.back);
  }
  index_ = index;
  r11_in_ = r11_in;
}

}  // namespace rchk::translate
