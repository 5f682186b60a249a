// RDRAND and RDSEED are made to trap (docs/notes/random-instructions.md). The guest's memory holds
// the patches, in the recording and in every replay.

#include <algorithm>

#include "engine/record/recorder_impl.h"
#include "engine/translate/decode.h"

namespace rchk::record {

namespace {

constexpr uint8_t kOpcode = 0x0f;
constexpr uint64_t kOpcodeBytes = 3;  // with ModRM

}  // namespace

// Where their opcodes lie, patched or not.
std::vector<GuestAddress> Recorder::Impl::random_instructions_in(const trace::Mapping& mapping) {
  std::vector<GuestAddress> found;
  const bool is_code = mapping.executable() && mapping.backing && !mapping.shared;
  if (!is_code || (!has_rdrand_ && !has_rdseed_)) return found;
  const snapshot::FileId id = mapping.backing->file;
  const auto file = open_mapped_file(
      pid(), {.range = mapping.range, .inode = files_.version(id).inode, .name = mapping.name});
  if (!file) return found;  // as when it was mapped, which has been said then
  const uint64_t first = mapping.backing->offset_bytes;
  for (const uint64_t offset : random_instructions_.find(id, *file, first, mapping.range.size())) {
    const GuestAddress where = mapping.range.begin + (offset - first);
    uint8_t code[kOpcodeBytes] = {};
    if (task_->tracee.read_memory(where, code) != sizeof(code)) continue;
    const auto instruction = decode_random(code);
    if (!instruction) continue;  // the guest has changed it
    const bool is_rdrand = instruction->kind == trace::TrappedInstruction::kRdrand;
    if (is_rdrand ? has_rdrand_ : has_rdseed_) found.push_back(where);
  }
  return found;
}

void Recorder::Impl::patch_random(const trace::Mapping& mapping,
                                  std::vector<trace::MemoryWrite>& writes) {
  for (const GuestAddress where : random_instructions_in(mapping)) {
    trace::MemoryWrite write{where, {translate::kPatchedRandom}};
    if (task_->tracee.write_memory(where, write.bytes)) writes.push_back(std::move(write));
  }
}

Result<void> Recorder::Impl::look_at_code(const trace::Mapping& mapping,
                                          std::vector<trace::MemoryWrite>& writes) {
  patch_random(mapping, writes);
  return watch_vsyscalls_of(mapping);
}

Result<void> Recorder::Impl::look_at_code_of(const std::vector<trace::AddressSpaceChange>& changes,
                                             std::vector<trace::MemoryWrite>& writes) {
  const snapshot::AddressSpace& memory = task_->space->memory;
  const auto look = [&](AddressRange range) -> Result<void> {
    for (const trace::Mapping& mapping : memory.overlapping(range)) {
      RCHK_TRY(look_at_code(mapping, writes));
    }
    return {};
  };
  for (const trace::AddressSpaceChange& change : changes) {
    if (const auto* map = std::get_if<trace::MapChange>(&change)) {
      RCHK_TRY(look(map->mapping.range));
    } else if (const auto* protect = std::get_if<trace::ProtectChange>(&change)) {
      RCHK_TRY(look(protect->range));
    } else if (const auto* moved = std::get_if<trace::RemapChange>(&change)) {
      RCHK_TRY(look(moved->to));
    } else if (const auto* discard = std::get_if<trace::DiscardChange>(&change)) {
      RCHK_TRY(look(discard->range));  // what comes to light is the file's
    }
  }
  return {};
}

void Recorder::Impl::take_patches_out(Task& task) {
  Task* const current = std::exchange(task_, &task);
  for (const auto& [begin, mapping] : task.space->memory.mappings()) {
    for (const GuestAddress where : random_instructions_in(mapping)) {
      static_cast<void>(task.tracee.write_memory(where, {&kOpcode, 1}));  // it may be gone
    }
  }
  task_ = current;
}

}  // namespace rchk::record
