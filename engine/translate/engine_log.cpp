#include <algorithm>

#include "base/check.h"
#include "engine/translate/engine_impl.h"

// Running with a log of the state in front of each instruction.
namespace rchk::translate {

namespace {

// RF: a fault that was handled leaves it set, and any instruction clears it (SDM vol. 3, 17.3.1.1).
constexpr uint64_t kResumeFlag = 0x10000;

// `rest`: what instructions that are logged do not change.
Registers registers_in(const LoggedStep& step, const Registers& rest, uint64_t pc) {
  Registers registers = rest;
  for (unsigned number = 0; number < std::size(step.registers); ++number) {
    registers.*general_register(number) = step.registers[number];
  }
  registers.rflags = unpacked_flags(rest.rflags, step.flags);
  registers.rip = pc;
  return registers;
}

}  // namespace

Result<Stop> Engine::Impl::run_logged(Registers& registers, uint64_t limit,
                                      std::vector<LoggedInstruction>& passed) {
  RCHK_CHECK(host_ != nullptr && breakpoints_.empty() && probes_.watchpoints.empty() &&
             !probes_.state && limit > 0);
  const Registers before = registers;
  const size_t known = passed.size();
  Progress progress{registers, std::min(limit, kLoggedSteps)};
  progress.logs = true;
  cache_->state().hit_site = 0;
  cache_->state().log_used = 0;
  last_direct_exit_ = 0;
  missed_indirect_ = false;
  std::optional<Stop> stop;
  while (!stop) {
    RCHK_TRY_ASSIGN(stop, advance(progress));
    // Before the next stay in the cache, which may begin with its being flushed.
    Registers rest = before;
    if (passed.size() > known) rest.rflags &= ~kResumeFlag;
    take_log(rest, passed);
    if (!stop && progress.store_once) stop = Stop{.reason = StopReason::kUnlogged};
  }
  // One that faults was logged, and not retired.
  if (stop->reason == StopReason::kFault) stop = Stop{.reason = StopReason::kUnlogged};
  const size_t logged = passed.size() - known;
  RCHK_CHECK(logged == progress.retired || logged == progress.retired + 1, "{} logged, {} retired",
             logged, progress.retired);
  passed.resize(known + progress.retired);
  if (progress.retired == 0) {
    registers = before;  // an attempt that faulted set RF
  } else {
    registers.rflags &= ~kResumeFlag;
  }
  stop->retired = progress.retired;
  ran_ += progress.retired;
  return *stop;
}

// `rest`: what instructions that are logged do not change, in front of the first of them.
void Engine::Impl::take_log(Registers rest, std::vector<LoggedInstruction>& passed) {
  StatePage& state = cache_->state();
  const uint64_t count = std::exchange(state.log_used, 0) / sizeof(LoggedStep);
  RCHK_CHECK(count <= kLoggedSteps);
  for (uint64_t i = 0; i < count; ++i) {
    const LoggedStep& step = cache_->logged_steps()[i];
    LoggedInstruction entry;
    entry.registers = registers_in(step, rest, store_.site(static_cast<uint32_t>(step.site)).pc);
    constexpr uint64_t kWordBytes = 8;
    if (step.store != 0) {
      entry.words[0] = {step.store & ~(kWordBytes - 1)};
      entry.words[1] = {(step.store + kWordBytes - 1) & ~(kWordBytes - 1)};
      std::copy(std::begin(step.old), std::end(step.old), entry.old_words);
      entry.word_count = entry.words[0] == entry.words[1] ? 1 : 2;
    }
    passed.push_back(entry);
    rest.rflags &= ~kResumeFlag;
  }
}

// What the instruction may overwrite cannot be read.
Stop Engine::Impl::left_unlogged(Progress& progress, int64_t budget) {
  const StatePage& state = cache_->state();
  const LoggedStep& step = cache_->logged_steps()[state.log_used / sizeof(LoggedStep)];
  const ExitSite& site = store_.site(static_cast<uint32_t>(step.site));
  progress.retired +=
      static_cast<uint64_t>(static_cast<int64_t>(step.count) + budget + int64_t{site.count_delta});
  progress.registers = registers_in(step, progress.registers, site.pc);
  return Stop{.reason = StopReason::kUnlogged};
}

}  // namespace rchk::translate
