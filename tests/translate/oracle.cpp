// Random programs, natively single-stepped and translated, must agree in everything.
//
// usage: oracle MODE [FIRST_SEED [COUNT]]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <span>
#include <string>

#include <sys/mman.h>

#include "base/check.h"
#include "engine/translate/access.h"
#include "engine/translate/decode.h"
#include "engine/translate/engine.h"
#include "tests/translate/generator.h"
#include "tests/translate/puppet.h"

namespace rchk::translate::testing {

namespace {

struct Mode {
  bool random_limits = true;
  bool breakpoints = false;
  bool remember = false;
  bool state_probe = false;
  bool watchpoints = false;
  bool watch_reads = false;
  bool forks = false;
  bool hot = false;  // blocks become hot at once
  bool logged = false;
  GeneratorOptions generator;
};

[[noreturn]] void disagree(uint64_t seed, const char* what, const std::string& details) {
  std::printf("FAIL seed %llu: %s\n%s\n", static_cast<unsigned long long>(seed), what,
              details.c_str());
  std::exit(1);
}

struct NativeStep {
  uint64_t retired = 0;
  int signal = 0;
};

// The truth: one process that is single-stepped.
class Native {
 public:
  explicit Native(Puppet& puppet) : puppet_(puppet) {}
  void start(const Registers& registers) {
    registers_ = registers;
    retired = 0;
  }
  const Registers& registers() const { return registers_; }
  void set_registers(const Registers& registers) { registers_ = registers; }
  bool at_syscall() {
    const auto code = puppet_.read(registers_.pc(), 2);
    return code[0] == 0x0f && code[1] == 0x05;
  }
  // Executes one instruction, a rep string whole. Returns the signal, 0 for none.
  int step() {
    const GuestAddress pc = registers_.pc();
    uint8_t bytes[16] = {};
    const size_t got = puppet_.read_memory(pc, bytes);
    Instruction instruction;
    decode(bytes, got, instruction);
    for (;;) {
      const HostStop stop = puppet_.single_step(registers_);
      registers_ = stop.registers;
      registers_.rflags &= ~0x100ull;
      if (stop.signal != 0) return stop.signal;
      if (instruction.rep_string && registers_.pc() == pc) continue;
      ++retired;
      if (instruction.map == 0 && instruction.opcode == 0x9c) clear_pushed_trap_flag();
      return 0;
    }
  }
  uint64_t retired = 0;

 private:
  // pushf pushes the trap flag by which it was stepped.
  void clear_pushed_trap_flag() {
    const GuestAddress second = {registers_.rsp + 1};
    auto byte = puppet_.read(second, 1);
    byte[0] &= 0xfe;
    puppet_.write(second, byte);
  }

  Puppet& puppet_;
  Registers registers_;
};

void compare(uint64_t seed, Puppet& a, Puppet& b, const Registers& expected, const Registers& found,
             bool memory) {
  if (!same_guest_state(expected, found)) {
    disagree(seed, "registers", describe_difference(expected, found));
  }
  if (!memory) return;
  for (const auto& [begin, size] :
       {std::pair{kData, kDataBytes}, {kStack, kStackBytes}, {kCode, kCodeBytes}}) {
    const auto x = a.read({begin}, size), y = b.read({begin}, size);
    if (x == y) continue;
    const auto at =
        static_cast<size_t>(std::mismatch(x.begin(), x.end(), y.begin()).first - x.begin());
    disagree(seed, "memory", fmt::format("at {:#x}: {:#x} and {:#x}", begin + at, x[at], y[at]));
  }
  if (!same_extended_state(a.extended_state(), b.extended_state())) {
    disagree(seed, "vector state", "");
  }
}

void prepare(Puppet& puppet, const RandomProgram& program, uint64_t seed) {
  std::vector<uint8_t> code(kCodeBytes, 0x90);
  std::copy(program.code.begin(), program.code.end(), code.begin());
  puppet.write({kCode}, code);
  std::mt19937_64 random(seed ^ 0x5555);
  std::vector<uint8_t> data(kDataBytes);
  for (auto& byte : data) byte = static_cast<uint8_t>(random());
  puppet.write({kData}, data);
  puppet.write({kStack}, data);
}

void map_guest(Puppet& puppet, bool writable_code) {
  puppet.map(range_of({kCode}, kCodeBytes),
             PROT_READ | PROT_EXEC | (writable_code ? PROT_WRITE : 0));
  puppet.map(range_of({kData}, kDataBytes), PROT_READ | PROT_WRITE);
  puppet.map(range_of({kStack}, kStackBytes), PROT_READ | PROT_WRITE);
}

constexpr uint64_t kMaxNativeSteps = 3000;
// The same program so often, where its blocks are to become hot.
constexpr unsigned kHotRounds = 30;

class Runner {
 public:
  explicit Runner(const Mode& mode) : mode_(mode), native_(truth_) {
    for (Puppet* puppet : {&truth_, &translated_})
      map_guest(*puppet, mode.generator.self_modifying);
    base_ = truth_.registers();
    vectors_ = truth_.extended_state();
    auto made = Engine::create(mode_.hot ? ImprovementPace{2, 100, 200} : ImprovementPace{});
    RCHK_CHECK(made.has_value());
    engine_ = std::move(*made);
    RCHK_CHECK(engine_->attach(translated_).has_value());
  }

  void run(uint64_t seed) {
    program_ = generate(seed, mode_.generator);
    engine_->invalidate(range_of({kCode}, kCodeBytes));
    for (unsigned round = 0; round < (mode_.hot ? kHotRounds : 1); ++round) run_round(seed);
  }

  uint64_t total = 0, logged = 0;
  Statistics statistics() const { return engine_->statistics(); }

 private:
  void run_round(uint64_t seed) {
    random_.seed(seed * 77 + 1);
    for (Puppet* puppet : {&truth_, &translated_}) {
      prepare(*puppet, program_, seed);
      puppet->set_extended_state(vectors_);
    }
    Registers guest = base_;
#define COPY(name) guest.name = program_.start.name;
    // clang-format off
    COPY(rax)
    COPY(rcx)
    COPY(rdx)
    COPY(rbx)
    COPY(rsi)
    COPY(rdi) COPY(rbp) COPY(rsp) COPY(r8) COPY(r9) COPY(r10) COPY(r11) COPY(r12) COPY(r13)
        COPY(r14) COPY(r15) COPY(rip) COPY(rflags)
    // clang-format on
#undef COPY
            native_.start(guest);
    guest_ = guest;
    if (mode_.state_probe) choose_state(seed);
    set_probes();
    while (mode_.logged ? logged_stretch(seed) : stretch(seed)) {
    }
    compare(seed, truth_, translated_, native_.registers(), guest_, true);
    total += native_.retired;
  }

  void set_probes() {
    Probes probes;
    breakpoints_.clear();
    if (mode_.breakpoints) {
      for (int i = 0; i < 3; ++i) {
        const auto& starts = program_.instruction_starts;
        const uint64_t pc = starts[random_() % starts.size()];
        if (std::find(breakpoints_.begin(), breakpoints_.end(), pc) != breakpoints_.end()) continue;
        breakpoints_.push_back(pc);
        probes.breakpoints.push_back({pc});
      }
      probes.policy = mode_.remember ? HitPolicy::kRemember : HitPolicy::kStop;
    }
    if (mode_.state_probe) probes.state = state_;
    if (mode_.watchpoints) choose_watchpoints(probes);
    watchpoints_ = probes.watchpoints;
    RCHK_CHECK(engine_->set_probes(probes).has_value());
  }

  void choose_watchpoints(Probes& probes) {
    static constexpr uint64_t kSizes[] = {1, 2, 4, 8, 8, 13, 200};
    for (int i = 0; i < 3; ++i) {
      const uint64_t areas[] = {kData + kDataBytes / 4 + random_() % 1200,
                                kData + kDataBytes / 2 + random_() % 2200,
                                kStack + kStackBytes / 2 - 32 + random_() % 200};
      Watchpoint watch{range_of({areas[random_() % 3]}, kSizes[random_() % 7]), WatchKind::kWrite};
      if (mode_.watch_reads) watch.kind = static_cast<WatchKind>(random_() % 3);
      probes.watchpoints.push_back(watch);
    }
    if (random_() % 8 == 0) probes.watchpoints.push_back({range_of({0x10}, 8), WatchKind::kWrite});
    probes.policy = mode_.remember ? HitPolicy::kRemember : HitPolicy::kStop;
  }

  std::vector<std::vector<uint8_t>> watched_values() {
    std::vector<std::vector<uint8_t>> values;
    for (const Watchpoint& watch : watchpoints_) {
      std::vector<uint8_t> value(watch.range.size());
      truth_.read_memory(watch.range.begin, value);
      values.push_back(value);
    }
    return values;
  }

  // The watchpoint that the native step just made has hit.
  std::optional<uint32_t> watch_hit(const std::vector<std::vector<uint8_t>>& before,
                                    const std::vector<MemoryAccess>& accesses) {
    const auto after = watched_values();
    for (uint32_t i = 0; i < watchpoints_.size(); ++i) {
      const Watchpoint& watch = watchpoints_[i];
      if (watch.kind != WatchKind::kRead && before[i] != after[i]) return i;
      for (const MemoryAccess& access : accesses) {
        if (!access.range.overlaps(watch.range)) continue;
        if (watch.kind == WatchKind::kAccess) return i;
        if (watch.kind == WatchKind::kRead && access.reads) return i;
      }
    }
    return std::nullopt;
  }

  // What the instruction about to be stepped accesses; only asked for with such watchpoints.
  std::vector<MemoryAccess> accesses_here() {
    if (!mode_.watch_reads) return {};
    TraceStep step;
    step.pc = native_.registers().rip;
    truth_.read_memory({step.pc}, step.bytes);
    decode(step.bytes.data(), 15, step.instruction);
    return memory_accesses(step, native_.registers()).value_or(std::vector<MemoryAccess>{});
  }

  // Runs the program once to take a state of it, then makes everything as it was.
  void choose_state(uint64_t seed) {
    const uint64_t steps = random_() % 300;
    for (uint64_t i = 0; i < steps && !native_.at_syscall() && native_.step() == 0; ++i) {
    }
    state_ = StateProbe{};
    state_.expected = native_.registers();
    for (int i = 0; i < 2; ++i) {
      const GuestAddress address{kData + kDataBytes / 4 + 8 * (random_() % 128)};
      uint64_t value = 0;
      const auto bytes = truth_.read(address, 8);
      std::memcpy(&value, bytes.data(), 8);
      state_.words.push_back({address, value});
    }
    if (random_() % 8 == 0) state_.words.push_back({{0x10}, 0});  // not mapped: never matches
    prepare(truth_, program_, seed);
    truth_.set_extended_state(vectors_);
    native_.start(guest_);
  }

  bool at_state() {
    if (!mode_.state_probe || !same_guest_state(state_.expected, native_.registers())) return false;
    for (const WordProbe& word : state_.words) {
      uint64_t value = 0;
      std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(&value), 8);
      if (truth_.read_memory(word.address, bytes) != 8 || value != word.expected) return false;
    }
    return true;
  }

  bool is_breakpoint(uint64_t pc) const {
    return std::find(breakpoints_.begin(), breakpoints_.end(), pc) != breakpoints_.end();
  }

  // One run of the engine, and as many native steps. False at the program's end.
  bool stretch(uint64_t seed) {
    const uint64_t limit = !mode_.random_limits ? 1ull << 40
                           : random_() % 4 == 0 ? 1 + random_() % 4
                           : random_() % 3 == 0 ? 1 + random_() % 3000
                                                : 1 + random_() % 100;
    const bool report = random_() % 3 == 0;
    std::optional<Hit> expected_hit;
    uint64_t steps = 0;
    const char* ending = "limit";
    int signal = 0;
    uint32_t expected_probe = 0;
    while (steps < limit) {
      const uint64_t pc = native_.registers().rip;
      if (is_breakpoint(pc) && (steps != 0 || report)) {
        if (!mode_.remember) {
          ending = "breakpoint";
          break;
        }
        const auto index =
            std::find(breakpoints_.begin(), breakpoints_.end(), pc) - breakpoints_.begin();
        expected_hit = Hit{steps, false, static_cast<uint32_t>(index)};
      }
      if ((steps != 0 || report) && at_state()) {
        ending = "candidate";
        break;
      }
      if (native_.at_syscall()) {
        ending = "syscall";
        break;
      }
      std::vector<std::vector<uint8_t>> before;
      std::vector<MemoryAccess> accesses;
      if (!watchpoints_.empty()) {
        before = watched_values();
        accesses = accesses_here();
      }
      signal = native_.step();
      if (signal != 0) {
        ending = "fault";
        break;
      }
      ++steps;
      if (const auto hit = watchpoints_.empty() ? std::nullopt : watch_hit(before, accesses)) {
        if (!mode_.remember) {
          ending = "watchpoint";
          expected_probe = *hit;
          break;
        }
        expected_hit = Hit{steps - 1, true, *hit};
      }
      if (native_.retired > kMaxNativeSteps) return false_after(seed, steps);
    }
    if (mode_.forks && random_() % 3 == 0) run_ahead(seed);
    const auto stop = engine_->run(guest_, {limit, report});
    if (!stop) disagree(seed, "error", stop.error().message());
    static constexpr const char* kNames[] = {"limit",      "syscall",   "trapped", "breakpoint",
                                             "watchpoint", "candidate", "fault",   "unsupported"};
    const std::string found = kNames[static_cast<int>(stop->reason)];
    if (found != ending || stop->retired != steps || stop->signal != signal ||
        (found == "watchpoint" && stop->probe != expected_probe)) {
      disagree(
          seed, "stop",
          fmt::format("expected {} {} after {} (signal {}), found {} {} after {} (signal {}) {}\n"
                      "limit {} from retired {}\n{}",
                      ending, expected_probe, steps, signal, found, stop->probe, stop->retired,
                      stop->signal, stop->detail, limit, native_.retired,
                      describe_difference(native_.registers(), guest_)));
    }
    check_hit(seed, expected_hit);
    compare(seed, truth_, translated_, native_.registers(), guest_, random_() % 16 == 0);
    return found == "limit" || found == "breakpoint" || found == "candidate" ||
           found == "watchpoint";
  }

  // Some native steps, then as many by run_logged(), and by run() what that does not pass. False at
  // the program's end.
  bool logged_stretch(uint64_t seed) {
    const uint64_t limit = random_() % 4 == 0 ? 1 + random_() % 3000 : 1 + random_() % 100;
    std::vector<Registers> states;
    int signal = 0;
    bool at_syscall = false;
    while (states.size() < limit && native_.retired <= kMaxNativeSteps) {
      at_syscall = native_.at_syscall();
      if (at_syscall) break;
      const Registers before = native_.registers();
      signal = native_.step();
      if (signal != 0) break;
      states.push_back(before);
    }
    for (uint64_t done = 0; done < states.size();) {
      done += run_logged(seed, {states.begin() + static_cast<ptrdiff_t>(done), states.end()});
      if (done == states.size()) break;
      const auto stop = engine_->run(guest_, {1, false});
      if (!stop || stop->reason != StopReason::kInstructionLimit) {
        disagree(seed, "a step that is not logged", describe_difference(states[done], guest_));
      }
      ++done;
    }
    const bool ends = signal != 0 || at_syscall;
    if (ends) {
      const auto stop = engine_->run(guest_, {1, false});
      if (!stop || stop->signal != signal || (stop->reason == StopReason::kSyscall) != at_syscall) {
        disagree(seed, "the end", fmt::format("expected signal {}", signal));
      }
    }
    compare(seed, truth_, translated_, native_.registers(), guest_, random_() % 16 == 0);
    return !ends && native_.retired <= kMaxNativeSteps;
  }

  // Returns how many of `expected` it passed.
  uint64_t run_logged(uint64_t seed, std::span<const Registers> expected) {
    const auto memory = all_memory();
    const ExtendedState vectors = translated_.extended_state();
    std::vector<LoggedInstruction> passed;
    const auto stop = engine_->run_logged(guest_, expected.size(), passed);
    if (!stop) disagree(seed, "error", stop.error().message());
    if (passed.size() != stop->retired || passed.size() > expected.size()) {
      disagree(seed, "log", fmt::format("{} for {}", passed.size(), stop->retired));
    }
    for (size_t i = 0; i < passed.size(); ++i) {
      if (same_guest_state(expected[i], passed[i].registers)) continue;
      disagree(seed, "logged registers", describe_difference(expected[i], passed[i].registers));
    }
    if (!same_extended_state(vectors, translated_.extended_state())) {
      disagree(seed, "vector state changed while logged", "");
    }
    auto undone = all_memory();
    for (size_t i = passed.size(); i-- > 0;) {
      for (uint8_t word = 0; word < passed[i].word_count; ++word) {
        auto area = undone.upper_bound(passed[i].words[word].value);
        if (area == undone.begin()) continue;
        --area;
        const uint64_t at = passed[i].words[word].value - area->first;
        if (at >= area->second.size()) continue;
        std::memcpy(area->second.data() + at, &passed[i].old_words[word], sizeof(uint64_t));
      }
    }
    if (undone != memory) disagree(seed, "what was overwritten is not put back", "");
    logged += passed.size();
    return passed.size();
  }

  std::map<uint64_t, std::vector<uint8_t>> all_memory() {
    std::map<uint64_t, std::vector<uint8_t>> memory;
    for (const auto& [begin, size] :
         {std::pair{kData, kDataBytes}, {kStack, kStackBytes}, {kCode, kCodeBytes}}) {
      memory[begin] = translated_.read({begin}, size);
    }
    return memory;
  }

  // The engine runs a copy of the process some way, its code changing, and comes back.
  void run_ahead(uint64_t seed) {
    Puppet copy = translated_.clone();
    Registers ahead = guest_;
    if (const auto attached = engine_->attach(copy); !attached) {
      disagree(seed, "attach", attached.error().message());
    }
    for (int i = 0; i < 3; ++i) {
      const auto stop = engine_->run(ahead, {1 + random_() % 300, false});
      if (!stop) disagree(seed, "run ahead", stop.error().message());
      if (stop->reason != StopReason::kInstructionLimit) break;
    }
    RCHK_CHECK(engine_->attach(translated_).has_value());
  }

  void check_hit(uint64_t seed, const std::optional<Hit>& expected) {
    const auto found = engine_->last_hit();
    const bool same =
        found.has_value() == expected.has_value() &&
        (!found || (found->retired == expected->retired && found->probe == expected->probe));
    if (same) return;
    disagree(seed, "hit",
             fmt::format("expected {} {}, found {} {}", expected ? expected->probe : 99,
                         expected ? expected->retired : 0, found ? found->probe : 99,
                         found ? found->retired : 0));
  }

  bool false_after(uint64_t seed, uint64_t steps) {
    // Too long to step to its end: one last run to where the truth stands, without probes.
    RCHK_CHECK(engine_->set_probes({}).has_value());
    const auto stop = engine_->run(guest_, {steps, false});
    if (!stop || stop->retired != steps)
      disagree(seed, "last run", stop ? "" : stop.error().message());
    return false;
  }

  Mode mode_;
  Puppet truth_ = Puppet::forked();
  Puppet translated_ = Puppet::forked();
  Native native_;
  std::unique_ptr<Engine> engine_;
  Registers base_, guest_;
  ExtendedState vectors_;
  StateProbe state_;
  std::vector<Watchpoint> watchpoints_;
  RandomProgram program_;
  std::vector<uint64_t> breakpoints_;
  std::mt19937_64 random_;
};

Mode mode_named(const std::string& full_name) {
  Mode mode;
  std::string name = full_name;
  if (name.starts_with("beside-")) {
    name.erase(0, 7);
    Puppet::low_memory_is_full = true;
  }
  if (name.starts_with("far-")) {
    name.erase(0, 4);
    Puppet::caches_are_far = true;
  }
  if (name.starts_with("hot-")) {
    name.erase(0, 4);
    mode.hot = true;
    mode.random_limits = false;
  }
  if (name == "plain")
    mode.random_limits = false;
  else if (name == "limits")
    mode.random_limits = true;
  else if (name == "faults")
    mode.generator.faults = true;
  else if (name == "breakpoints")
    mode.breakpoints = true;
  else if (name == "remember")
    mode.breakpoints = mode.remember = true;
  else if (name == "forks")
    mode.forks = mode.generator.self_modifying = true;
  else if (name == "watch")
    mode.watchpoints = true;
  else if (name == "watch-remember")
    mode.watchpoints = mode.remember = true;
  else if (name == "watch-reads")
    mode.watchpoints = mode.watch_reads = true;
  else if (name == "logged")
    mode.logged = true;
  else if (name == "logged-faults")
    mode.logged = mode.generator.faults = true;
  else if (name == "logged-selfmod")
    mode.logged = mode.generator.self_modifying = true;
  else if (name == "state")
    mode.state_probe = true;
  else if (name == "selfmod")
    mode.generator.self_modifying = true;
  else {
    std::fprintf(stderr, "unknown mode %s\n", name.c_str());
    std::exit(2);
  }
  return mode;
}

}  // namespace

int oracle_main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  pin_to_one_core();
  const std::string mode = argc > 1 ? argv[1] : "limits";
  const uint64_t first = argc > 2 ? std::strtoull(argv[2], nullptr, 0) : 1;
  const uint64_t count = argc > 3 ? std::strtoull(argv[3], nullptr, 0) : 40;
  Runner runner(mode_named(mode));
  for (uint64_t seed = first; seed < first + count; ++seed) {
    if (std::getenv("ORACLE_VERBOSE") != nullptr)
      std::printf("seed %llu\n", (unsigned long long)seed);
    runner.run(seed);
  }
  const Statistics statistics = runner.statistics();
  std::printf(
      "%s: %llu programs, %llu instructions agree (%llu blocks, %llu stops, %llu flushes, "
      "%llu made anew, %llu logged)\n",
      mode.c_str(), static_cast<unsigned long long>(count),
      static_cast<unsigned long long>(runner.total),
      static_cast<unsigned long long>(statistics.blocks),
      static_cast<unsigned long long>(statistics.host_stops),
      static_cast<unsigned long long>(statistics.flushes),
      static_cast<unsigned long long>(statistics.remade),
      static_cast<unsigned long long>(runner.logged));
  return 0;
}

}  // namespace rchk::translate::testing

int main(int argc, char** argv) { return rchk::translate::testing::oracle_main(argc, argv); }
