// XSAVEC in the dynamic linker, which the recorder carries out itself (docs/notes/xsave.md).

#include <cstring>

#include <elf.h>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

// A program that is no dynamic linker itself may be large, and has none of its code.
constexpr uint64_t kLargestLinkerBytes = 2 << 20;
constexpr size_t kLongestInstruction = 15;

uint64_t auxv_value(const Bytes& auxv, uint64_t type) {
  for (size_t at = 0; at + sizeof(Elf64_auxv_t) <= auxv.size(); at += sizeof(Elf64_auxv_t)) {
    Elf64_auxv_t entry;
    std::memcpy(&entry, auxv.data() + at, sizeof(entry));
    if (entry.a_type == type) return entry.a_un.a_val;
  }
  return 0;
}

}  // namespace

void Recorder::Impl::set_hooks(const trace::ExecEvent& image) {
  std::vector<GuestAddress> hooks;
  // Without an interpreter the program may be the dynamic linker itself.
  const uint64_t interpreter = auxv_value(image.auxv, AT_BASE);
  std::optional<uint32_t> file;
  for (const trace::Mapping& mapping : image.mappings) {
    if (mapping.backing && mapping.range.begin.value == interpreter)
      file = mapping.backing->file.value;
  }
  for (const trace::Mapping& mapping : image.mappings) {
    if (!mapping.executable() || !mapping.backing) continue;
    if (interpreter != 0 && mapping.backing->file.value != file) continue;
    if (mapping.range.size() > kLargestLinkerBytes) continue;
    Bytes code(mapping.range.size());
    code.resize(task_->tracee.read_memory(mapping.range.begin, code));
    for (const size_t at : tracee::find_lazy_binding_xsavec(code)) {
      hooks.push_back(mapping.range.begin + at);
    }
  }
  task_->space->breakpoints.set_hooks(hooks);
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::perform_hook(Registers registers,
                                                               const RunLimits& limits) {
  uint8_t code[kLongestInstruction] = {};
  const size_t got = task_->tracee.read_memory(registers.pc(), code);
  const std::span<uint8_t> bytes(code, got);
  if (task_->space->breakpoints.inserted())
    task_->space->breakpoints.hide_in(registers.pc(), bytes, false, task_->tracee);
  const auto instruction = tracee::decode_xsavec(bytes, registers);
  if (!instruction) {
    // The guest has overwritten it. From now on it is on its own here.
    const bool were_in = task_->space->breakpoints.inserted();
    task_->space->breakpoints.remove_all(task_->tracee);
    task_->space->breakpoints.set_hooks({});
    if (were_in) task_->space->breakpoints.insert_all(task_->tracee);
    RCHK_TRY(task_->tracee.set_registers(registers));
    return MaybeStop();
  }
  RCHK_TRY_ASSIGN(const ExtendedState state, task_->tracee.extended_state());
  MaybeStop stop;
  for (const tracee::StoredBytes& store : xsavec_.stores(*instruction, registers, state)) {
    RCHK_TRY(task_->tracee.write_memory(store.address, store.bytes));
    if (!limits.stop_at_breakpoints || watchpoints_.empty()) continue;
    const auto hit =
        watchpoints_.changed_in(range_of(store.address, store.bytes.size()), task_->tracee);
    if (hit) stop = RecorderStop{.cause = StopCause::kWatchpoint, .address = hit->address};
  }
  registers.rip += instruction->length;
  RCHK_TRY(task_->tracee.set_registers(registers));
  return stop;
}

}  // namespace rchk::record
