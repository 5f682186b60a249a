// What single operations of the engine cost: steps, hits, probes that do not match.
//
// usage: costs     (a loop of three instructions is the guest)

#include <chrono>
#include <cstdio>

#include <sys/mman.h>

#include "base/check.h"
#include "engine/translate/engine.h"
#include "tests/translate/puppet.h"

namespace rchk::translate::testing {

namespace {

constexpr uint64_t kCode = 0x555555554000ull;
constexpr uint64_t kData = 0x7fff20000000ull;
// top: inc rax; mov [rbx], rax; dec rcx; jnz top; syscall
constexpr uint8_t kLoop[] = {0x48, 0xff, 0xc0, 0x48, 0x89, 0x03, 0x48,
                             0xff, 0xc9, 0x75, 0xf5, 0x0f, 0x05};

class Clock {
 public:
  double ns() const {
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start_)
        .count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

int costs_main() {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  pin_to_one_core();
  Puppet puppet = Puppet::forked();
  puppet.map(range_of({kCode}, kPageSize), PROT_READ | PROT_EXEC);
  puppet.map(range_of({kData}, kPageSize), PROT_READ | PROT_WRITE);
  puppet.write({kCode}, kLoop);
  auto made = Engine::create();
  RCHK_CHECK(made.has_value());
  Engine& engine = **made;
  RCHK_CHECK(engine.attach(puppet).has_value());
  const Registers base = puppet.registers();
  auto start = [&](uint64_t iterations) {
    Registers guest = base;
    guest.rip = kCode;
    guest.rax = 0;
    guest.rbx = kData + 128;
    guest.rcx = iterations;
    return guest;
  };
  auto timed = [&](const char* name, uint64_t iterations, Probes probes) {
    RCHK_CHECK(engine.set_probes(std::move(probes)).has_value());
    Registers guest = start(iterations);
    const Clock clock;
    const auto stop = engine.run(guest, {1ull << 40, false});
    const double ns = clock.ns();
    RCHK_CHECK(stop && stop->reason == StopReason::kSyscall && stop->retired == 4 * iterations);
    std::printf("%-44s %8.2f ns an iteration\n", name, ns / static_cast<double>(iterations));
  };
  constexpr uint64_t kMany = 10'000'000;
  timed("nothing", kMany, {});
  timed("breakpoint, remembered", kMany,
        {.breakpoints = {{kCode}}, .policy = HitPolicy::kRemember});
  StateProbe state;
  state.expected = start(kMany);
  state.expected.rdx += 1;
  state.words.push_back({{kData}, 77});
  timed("state probe, no match", kMany, {.state = state});
  Watchpoint watch{range_of({kData + 128}, 8), WatchKind::kWrite};
  timed("watchpoint, hit and remembered", kMany / 10,
        {.watchpoints = {watch}, .policy = HitPolicy::kRemember});
  watch.range = range_of({kData + 2048}, 8);
  timed("watchpoint elsewhere", kMany, {.watchpoints = {watch}});
  watch.range = range_of({kData + 144}, 8);
  timed("watchpoint beside it", kMany / 10, {.watchpoints = {watch}});
  RCHK_CHECK(engine.set_probes({}).has_value());
  Registers guest = start(kMany);
  for (const uint64_t limit : {1, 7, 100, 5000, 1000000}) {
    constexpr int kRuns = 2000;
    for (int i = 0; i < 100; ++i) RCHK_CHECK(engine.run(guest, {limit, false}).has_value());
    guest = start(1ull << 40);
    const uint64_t before = puppet.resumes;
    const Clock clock;
    for (int i = 0; i < kRuns; ++i) RCHK_CHECK(engine.run(guest, {limit, false}).has_value());
    std::printf("run of %7lu instructions %24.2f us, %.2f stops\n", limit, clock.ns() / 1e3 / kRuns,
                static_cast<double>(puppet.resumes - before) / kRuns);
  }
  return 0;
}

}  // namespace rchk::translate::testing

int main() { return rchk::translate::testing::costs_main(); }
