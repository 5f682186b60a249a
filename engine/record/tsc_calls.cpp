// RDTSC and RDTSCP where there are many: answered without a trap, by the agent
// (docs/notes/agent.md, "The counter").

#include <algorithm>

#include <sys/mman.h>

#include "engine/record/recorder_impl.h"
#include "engine/trace/stand_in.h"
#include "engine/translate/decode.h"

namespace rchk::record {

namespace {

// What lies in front of an address in which an RDTSC would be one that a jump may take the place
// of.
constexpr uint64_t kLookBackBytes = TscSite::kJumpBytes + translate::kMaxInstructionBytes;

// As many traps as take the time of looking through it; at least one.
uint32_t traps_worth_reading(const trace::Mapping& mapping) {
  constexpr uint64_t kBytesForTrap = 20 << 10;
  return 1 + static_cast<uint32_t>(mapping.range.size() / kBytesForTrap);
}

bool may_be_inside(const TscSite& site, GuestAddress pc) { return site.middle().contains(pc); }

}  // namespace

// At an RDTSC or RDTSCP at `at`, which trapped, and whose event comes next.
Result<Recorder::Impl::TscChange> Recorder::Impl::consider_tsc(GuestAddress at) {
  TscChange change;
  constexpr size_t kMostPlaces = 4096;
  if (!options_.agent_after || holds() || task_->place_now) return change;
  Space& space = *task_->space;
  auto& traps = space.agent_use.tsc_traps;
  if (traps.size() == kMostPlaces && !traps.contains(at)) return change;
  uint32_t& count = traps[at];
  if (++count <= *options_.agent_after) return change;
  const trace::Mapping* const mapping = space.memory.find(at);
  if (mapping == nullptr || count != *options_.agent_after + traps_worth_reading(*mapping)) {
    return change;
  }
  if (!tsc_scale_) {
    const TscMirror::Pause pause(tsc_mirror_);
    tsc_scale_ = scale_of(tsc_start_, TscSample::take());
    if (!tsc_scale_) --count;  // too soon: the next one will do
  }
  if (!tsc_scale_ || !can_have_agent()) return change;
  uint8_t code[TscSite::kJumpBytes + translate::kMaxInstructionBytes] = {};
  const size_t got = task_->tracee.read_memory(at, code);
  const auto site = TscSite::find(at, {code, got});
  if (!site || !can_be_replaced(*site)) return change;
  RCHK_TRY_ASSIGN(const bool begun, begin_agent(change.event));
  if (!begun) return change;
  RCHK_TRY_ASSIGN(const auto place, room_for_tsc_code(at, change.event));
  if (!place) return change;
  for (trace::MemoryWrite& write :
       tsc_code(*space.agent, *place, *site, *tsc_scale_, processor_id_)) {
    change.event.writes.push_back(std::move(write));
    change.goes_on_at = space.agent->code.rbegin()->second.behind;
  }
  return change;
}

// Whether nobody stands, or can come to stand, in the middle of what a jump is to take the place
// of.
bool Recorder::Impl::can_be_replaced(const TscSite& site) const {
  constexpr uint64_t kMostCodeBytes = 256 << 20;
  const Space& space = *task_->space;
  const trace::Mapping* const mapping = space.memory.find(site.at);
  if (mapping == nullptr || !mapping->range.contains(site.range())) return false;
  // Code that a program makes, it may make anew.
  if (!mapping->backing || mapping->shared || mapping->writable()) return false;
  if (mapping->range.size() > kMostCodeBytes) return false;
  const auto& behind_counters = space.agent_use.interrupted_behind_tsc;
  for (const GuestAddress pc : behind_counters) {
    if (may_be_inside(site, pc)) return false;
  }
  for (const auto& [tid, other] : tasks_) {
    if (other.get() == task_ || other->space.get() != &space || other->call) continue;
    const Result<Registers> now = other->tracee.registers();
    if (!now || may_be_inside(site, now->pc())) return false;
  }
  Bytes code(mapping->range.size());
  if (task_->tracee.read_memory(mapping->range.begin, code) != code.size()) return false;
  return !may_lead_to(code, mapping->range.begin, site.middle());
}

// Where the code for the next site goes, within reach of `at`. None where there is no room.
Result<std::optional<GuestAddress>> Recorder::Impl::room_for_tsc_code(GuestAddress at,
                                                                      trace::MemoryEvent& event) {
  using Room = std::optional<GuestAddress>;
  constexpr size_t kMostPages = 16;
  constexpr uint64_t kReach = 1ull << 30;
  Space& space = *task_->space;
  auto& pages = space.agent->tsc_code;
  auto page = std::find_if(pages.begin(), pages.end(), [at](const TscCodePage& one) {
    const bool is_near = one.at < at ? at - one.at < kReach : one.at - at < kReach;
    return is_near && one.used < Agent::most_tsc_sites();
  });
  if (page == pages.end()) {
    if (pages.size() == kMostPages) return Room();
    const auto place = place_within_reach(space.memory, at, kPageSize, space.brk);
    if (!place) return Room();
    RCHK_TRY_ASSIGN(const bool mapped,
                    map_for_guest(range_of(*place, kPageSize), PROT_READ | PROT_EXEC, event));
    if (!mapped) return Room();
    page = pages.insert(pages.end(), TscCodePage{*place});
    event.writes.push_back({*place, Bytes(trace::kStandInPage.begin(), trace::kStandInPage.end())});
  }
  return Room(page->at + trace::kStandInPage.size() + page->used++ * tsc_code_bytes());
}

// A handler is entered, and will come back to `pc`.
void Recorder::Impl::note_interrupted(GuestAddress pc) {
  if (!options_.agent_after) return;
  uint8_t code[kLookBackBytes] = {};
  if (pc.value < sizeof(code)) return;
  if (task_->tracee.read_memory(pc - sizeof(code), code) != sizeof(code)) return;
  for (size_t offset = 0; offset + 1 < sizeof(code); ++offset) {
    const bool counter =
        code[offset] == 0x0f && (code[offset + 1] == 0x31 || code[offset + 1] == 0x01);
    if (!counter) continue;
    task_->space->agent_use.interrupted_behind_tsc.insert(pc);
    return;
  }
}

}  // namespace rchk::record
