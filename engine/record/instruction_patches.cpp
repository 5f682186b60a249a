// RDRAND and RDSEED, and RDTSC where the kernel cannot make it trap, are made to trap
// (docs/notes/untrapped-instructions.md). The guest's memory holds the patches, in the recording
// and in every replay.

#include <algorithm>

#include "base/file_io.h"
#include "engine/record/recorder_impl.h"
#include "engine/translate/decode.h"

namespace rchk::record {

namespace {

// Of an instruction of those kinds whose opcode `code` begins with, patched or not.
std::optional<translate::PatchedByte> patched_byte_of(std::span<const uint8_t> code) {
  translate::Instruction instruction;
  if (translate::decode(code.data(), code.size(), instruction) != translate::DecodeStatus::kOk) {
    return std::nullopt;
  }
  return translate::patched_byte(instruction);
}

}  // namespace

// Those of the instructions in `mapping`, whether they are patched or not.
std::vector<Recorder::Impl::Patch> Recorder::Impl::patches_in(const trace::Mapping& mapping) {
  std::vector<Patch> found;
  const bool is_code = mapping.executable() && mapping.backing && !mapping.shared;
  if (!is_code || !untrapped_instructions_.kinds().any()) return found;
  const snapshot::FileId id = mapping.backing->file;
  const auto file = open_mapped_file(
      pid(), {.range = mapping.range, .inode = files_.version(id).inode, .name = mapping.name});
  if (!file) return found;  // as when it was mapped, which has been said then
  const uint64_t first = mapping.backing->offset_bytes;
  for (const uint64_t offset :
       untrapped_instructions_.find(id, *file, first, mapping.range.size())) {
    const GuestAddress where = mapping.range.begin + (offset - first);
    uint8_t code[translate::kMostPatchedBytes] = {};
    const size_t got = task_->tracee.read_memory(where, code);
    const auto byte = patched_byte_of({code, got});
    if (byte) found.push_back({where + byte->offset, *byte});  // else the guest has changed it
  }
  return found;
}

void Recorder::Impl::patch(const trace::Mapping& mapping, std::vector<trace::MemoryWrite>& writes) {
  for (const Patch& patch : patches_in(mapping)) {
    trace::MemoryWrite write{patch.where, {patch.byte.patched}};
    if (task_->tracee.write_memory(patch.where, write.bytes)) writes.push_back(std::move(write));
  }
}

// Whether the privileged instruction at `pc`, of `length` bytes, is a patch: the program's own is
// in its file.
bool Recorder::Impl::is_patch(GuestAddress pc, size_t length) {
  const trace::Mapping* const mapping = task_->space->memory.find(pc);
  if (mapping == nullptr || !mapping->backing) return true;  // copied there
  const snapshot::FileId id = mapping->backing->file;
  const uint64_t offset = mapping->backing->offset_bytes + (pc - mapping->range.begin);
  const auto [known, is_new] = own_privileged_.try_emplace({id, offset}, false);
  if (!is_new) return !known->second;
  const auto file = open_mapped_file(
      pid(), {.range = mapping->range, .inode = files_.version(id).inode, .name = mapping->name});
  if (!file) return true;
  Bytes here(length), there(length);
  here.resize(task_->tracee.read_memory(pc, here));
  there.resize(read_at(file->get(), offset, there));
  known->second = here == there;
  return !known->second;
}

Result<void> Recorder::Impl::look_at_code(const trace::Mapping& mapping,
                                          std::vector<trace::MemoryWrite>& writes) {
  patch(mapping, writes);
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
    for (const Patch& patch : patches_in(mapping)) {
      // It may be gone.
      static_cast<void>(task.tracee.write_memory(patch.where, {&patch.byte.original, 1}));
    }
  }
  task_ = current;
}

}  // namespace rchk::record
