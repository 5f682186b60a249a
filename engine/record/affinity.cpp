// The cores that the guest believes to run on (sched_setaffinity(2)).

#include <algorithm>
#include <cerrno>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

CpuMask mask_of(const std::vector<int>& cpus) {
  CpuMask mask(kMostCpuMaskBytes);
  for (const int cpu : cpus) {
    const auto byte = static_cast<size_t>(cpu) / 8;
    if (byte < mask.size()) mask[byte] |= static_cast<uint8_t>(1u << (cpu % 8));
  }
  return mask;
}

// The guest stays on the recorder's core, whatever it believes.
std::optional<int64_t> Recorder::Impl::answer_about_affinity(const syscalls::Call& call) {
  if (call.number != syscalls::nr::sched_setaffinity) return std::nullopt;
  Task* const task = task_named(call.arguments[0]);
  if (task == nullptr) return std::nullopt;
  CpuMask mask(std::min<uint64_t>(call.arguments[1], kMostCpuMaskBytes));
  if (task_->tracee.read_memory({call.arguments[2]}, mask) != mask.size()) return -EFAULT;
  const CpuMask allowed = mask_of(allowed_cpus_);
  mask.resize(allowed.size());
  bool any = false;
  for (size_t i = 0; i < mask.size(); ++i) any |= (mask[i] &= allowed[i]) != 0;
  if (!any) return -EINVAL;
  task->affinity = std::move(mask);
  return 0;
}

// `address` is where the kernel has stored which core task_ runs on: to the guest one of its own.
Result<void> Recorder::Impl::keep_in_affinity(GuestAddress address) {
  const CpuMask& mask = task_->affinity;
  uint32_t cpu = 0;
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(&cpu), sizeof(cpu));
  if (mask.empty() || task_->tracee.read_memory(address, bytes) != bytes.size()) return {};
  const auto has = [&](uint32_t which) {
    return which / 8 < mask.size() && (mask[which / 8] >> (which % 8) & 1) != 0;
  };
  if (has(cpu)) return {};
  for (cpu = 0; cpu < 8 * mask.size(); ++cpu) {
    if (has(cpu)) return task_->tracee.write_memory(address, bytes);
  }
  return {};
}

// As calls about tasks name them; null for one that is not recorded.
Task* Recorder::Impl::task_named(uint64_t argument) const {
  if (syscalls::is_self(argument, task_->tid)) return task_;
  const auto found = tasks_.find(static_cast<pid_t>(argument));
  return found == tasks_.end() ? nullptr : found->second.get();
}

}  // namespace rchk::record
