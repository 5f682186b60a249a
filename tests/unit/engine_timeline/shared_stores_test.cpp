// What processes store to memory that they share: learned from a beginning of the recording on it
// is what a replay from the start tells.

#include "engine/replay/shared_stores.h"

#include <map>

#include <sched.h>

#include "engine/replay/parallel_replay.h"
#include "tests/unit/engine_timeline/tiny_guest.h"

namespace rchk::timeline::test {
namespace {

using replay::SharedStores;
using trace::Event;

// A parent and its child take turns, and the child stores.
constexpr const char* kTurns = R"(
import mmap, os
shared = mmap.mmap(-1, 8192)
ours, theirs = os.pipe(), os.pipe()
if os.fork() == 0:
    for i in range(40):
        os.read(ours[0], 1)
        shared[i] = i + 1
        shared[5000 + i % 3] = i
        os.write(theirs[1], b'.')
    os._exit(0)
for i in range(40):
    os.write(ours[1], b'.')
    os.read(theirs[0], 1)
    assert shared[i] == i + 1
os.wait()
)";

using Memory = std::map<GuestAddress, uint8_t>;

class SharedStoresTest : public testing::Test {
 protected:
  SharedStoresTest()
      : guest_({"/usr/bin/python3", "-ISE", "-c", kTurns}, std::chrono::milliseconds(2)),
        source_(guest_.reader()) {
    EXPECT_GT(source_.beginnings().size(), 4u);
    for (EventNumber number{0}; number.value < source_.event_count(); number = number.next()) {
      spaces_.push_back(value_of(source_.event(number))->space);
    }
  }
  std::unique_ptr<SharedStores> learn() {
    SharedStores::Listener listener;
    listener.progress = [this](uint64_t, uint64_t all) {
      most_steps_ = std::max(most_steps_, all);
    };
    listener.lost = [this](std::string_view text) { told_.emplace_back(text); };
    return std::make_unique<SharedStores>(source_, std::nullopt, nullptr, std::move(listener));
  }
  Memory stored_behind(SharedStores& stores, EventNumber event) const {
    Memory memory;
    const auto found = value_of(stores.behind(event, spaces_[event.value]));
    if (found == nullptr) return memory;
    for (const trace::MemoryWrite& store : *found) {
      for (size_t i = 0; i < store.bytes.size(); ++i) memory[store.address + i] = store.bytes[i];
    }
    return memory;
  }
  // By event, from the start on.
  std::vector<Memory> learn_all() {
    source_.hides_beginnings = true;
    const auto stores = learn();
    std::vector<Memory> all;
    for (EventNumber event{0}; event.value < source_.event_count(); event = event.next()) {
      all.push_back(stored_behind(*stores, event));
    }
    source_.hides_beginnings = false;
    return all;
  }
  // More may be told: what is there already.
  static void expect_holds(const Memory& expected, const Memory& found) {
    for (const auto& [address, byte] : expected) {
      const auto same = found.find(address);
      ASSERT_NE(same, found.end()) << address.value;
      EXPECT_EQ(byte, same->second) << address.value;
    }
  }

  SnapshottedGuest guest_;
  AlteredRecording source_;
  std::vector<uint32_t> spaces_;  // by event
  uint64_t most_steps_ = 0;
  std::vector<std::string> told_;
};

TEST_F(SharedStoresTest, AreLearnedFromTheNearestBeginningOn) {
  const std::vector<Memory> expected = learn_all();
  const uint64_t all_steps = most_steps_;
  EXPECT_GT(all_steps, 60u);
  size_t stores = 0;
  most_steps_ = 0;
  // From the end backwards: none follows from what is known already.
  const auto learned = learn();
  for (EventNumber event{source_.event_count()}; event.value-- > 0;) {
    const Memory found = stored_behind(*learned, event);
    expect_holds(expected[event.value], found);
    stores += expected[event.value].size();
    if (HasFatalFailure()) return;
  }
  EXPECT_GE(stores, 40u);
  EXPECT_LT(most_steps_, all_steps / 2);
  EXPECT_TRUE(told_.empty()) << told_.front();
}

TEST_F(SharedStoresTest, AreLearnedFromTheStartWhereABeginningIsWrong) {
  const std::vector<Memory> expected = learn_all();
  source_.alter_beginning = [](size_t, std::vector<Event>& processes) {
    for (Event& event : processes) std::get<trace::ExecEvent>(event.body).registers.rsp ^= 8;
  };
  const auto learned = learn();
  for (EventNumber event{source_.event_count()}; event.value-- > 0;) {
    EXPECT_EQ(expected[event.value], stored_behind(*learned, event));
  }
  ASSERT_EQ(1u, told_.size());
  EXPECT_NE(std::string::npos, told_.front().find("from the start")) << told_.front();
}

TEST_F(SharedStoresTest, ReplaysCheckBeginnings) {
  const auto replay = [this](bool restores) {
    const int cpu = sched_getcpu();
    auto whole = value_of(replay::ParallelReplay::plan(source_, {cpu, {}, restores, false, {}}));
    return whole.run({}, {});
  };
  source_.hides_beginnings = true;
  const uint64_t without = value_of(replay(true)).snapshots_restored;
  source_.hides_beginnings = false;
  EXPECT_EQ(without + 2 * source_.beginnings().size(), value_of(replay(true)).snapshots_restored);
  // One page, in one of them.
  const size_t wrong = source_.beginnings().size() / 2;
  source_.alter_beginning = [wrong](size_t index, std::vector<Event>& processes) {
    if (index != wrong) return;
    auto& exec = std::get<trace::ExecEvent>(processes.front().body);
    auto resumed = std::make_shared<trace::Resumed>(*exec.resumed);
    for (snapshot::PageChange& page : resumed->pages) {
      if (!page.version.is_kept()) continue;
      ++page.version.xxh3;
      break;
    }
    exec.resumed = std::move(resumed);
  };
  const auto result = replay(false);
  ASSERT_FALSE(result);
  EXPECT_EQ(ErrorKind::kDivergence, result.error().kind);
  EXPECT_NE(std::string::npos, result.error().context.find("beginning")) << result.error().context;
}

}  // namespace
}  // namespace rchk::timeline::test
