// The cores that the guest believes to run on (sched_setaffinity(2)).

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <filesystem>

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

namespace {

bool has_cpu(const CpuMask& mask, uint32_t cpu) {
  return cpu / 8 < mask.size() && (mask[cpu / 8] >> (cpu % 8) & 1) != 0;
}

// The NUMA node of a core; 0 where the kernel knows of none.
uint32_t node_of(uint32_t cpu) {
  std::error_code error;
  const std::filesystem::path folder(fmt::format("/sys/devices/system/cpu/cpu{}", cpu));
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    uint32_t node = 0;
    if (std::sscanf(entry.path().filename().c_str(), "node%" SCNu32, &node) == 1) return node;
  }
  return 0;
}

}  // namespace

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
  if (!has_cpu(task->affinity, static_cast<uint32_t>(*options_.program.cpu))) {
    say_once(
        "The program binds itself to other cores than the one that it is recorded on. getcpu and "
        "RDTSCP answer as if it ran there; RDPID, LSL and CPUID name the recording's core.");
  }
  return 0;
}

// The core that task_ is to believe it runs on, if that is not the recorder's.
std::optional<uint32_t> Recorder::Impl::believed_cpu() const {
  const CpuMask& mask = task_->affinity;
  const auto recorded_on = static_cast<uint32_t>(*options_.program.cpu);
  if (mask.empty() || has_cpu(mask, recorded_on)) return std::nullopt;
  for (uint32_t cpu = 0; cpu < 8 * mask.size(); ++cpu) {
    if (has_cpu(mask, cpu)) return cpu;
  }
  return std::nullopt;
}

// getcpu has stored the core and the node that task_ runs on.
Result<void> Recorder::Impl::keep_in_affinity(const syscalls::Call& getcpu) {
  const std::optional<uint32_t> cpu = believed_cpu();
  if (!cpu) return {};
  const uint32_t facts[] = {*cpu, node_of(*cpu)};
  for (size_t i = 0; i < std::size(facts); ++i) {
    const auto* const bytes = reinterpret_cast<const uint8_t*>(&facts[i]);
    if (getcpu.arguments[i] == 0) continue;
    RCHK_TRY(task_->tracee.write_memory({getcpu.arguments[i]}, {bytes, sizeof(facts[i])}));
  }
  return {};
}

// As RDTSCP names it (arch/x86/include/asm/segment.h, vdso_encode_cpunode).
std::optional<uint32_t> Recorder::Impl::believed_processor_id() const {
  constexpr int kNodeShift = 12;
  const std::optional<uint32_t> cpu = believed_cpu();
  if (!cpu) return std::nullopt;
  return *cpu | node_of(*cpu) << kNodeShift;
}

}  // namespace rchk::record
