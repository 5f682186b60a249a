// Page snapshots, from the recorder's side of a file to the replay's.

#include <array>
#include <map>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "engine/trace/codec.h"
#include "engine/trace/reader.h"
#include "engine/trace/writer.h"
#include "random_event.h"
#include "temporary_file.h"

namespace rchk::trace {
namespace {

using snapshot::PageChange;
using snapshot::PageVersion;
using Content = std::array<uint8_t, kPageSize>;
using Memory = std::map<GuestAddress, Content>;

Snapshot some_snapshot(uint32_t space, std::mt19937_64& random) {
  Snapshot taken;
  taken.program = {random() % 100};
  ExecEvent image;
  image.pid = 17;
  image.registers.rip = random();
  image.extended_state = {1, 2, 3};
  Mapping mapping;
  mapping.range = range_of({0x1000}, 64 * kPageSize);
  image.mappings.push_back(mapping);
  taken.image = {random() % 1'000'000, image, {17}, space};
  taken.others.push_back({{18}, random() % 2 == 0, image.registers, {4, 5}});
  taken.unsettled.push_back(range_of({random() % (uint64_t{1} << 40)}, 100));
  taken.touched = {range_of({0x1000}, kPageSize), range_of({0x7000}, 3 * kPageSize)};
  taken.cpu_ns = random() % 1'000'000;
  taken.pause_ns = 7;
  return taken;
}

// Two spaces whose pages change at random, and all that they were at each snapshot.
class Lives {
 public:
  explicit Lives(uint64_t seed) : random(seed) {}

  PageDelta advance(uint32_t space) {
    Memory& memory = memories[space];
    PageDelta delta;
    std::map<GuestAddress, bool> named;
    for (uint64_t i = random() % 30; i > 0; --i) {
      const GuestAddress page{0x1000 + random() % 60 * kPageSize};
      if (!named.emplace(page, true).second) continue;
      switch (random() % 6) {
        case 0:
          memory.erase(page);
          delta.reset.push_back(range_of(page, kPageSize));
          continue;
        case 1:
          memory[page].fill(0);
          break;
        case 2:
          for (uint8_t& byte : memory[page]) byte = static_cast<uint8_t>(random());
          break;
        default:
          memory[page][random() % kPageSize] = static_cast<uint8_t>(random());
      }
    }
    delta.reset = snapshot::normalized(std::move(delta.reset));
    for (const auto& [page, there] : named) {
      const auto found = memory.find(page);
      if (found == memory.end()) continue;
      delta.pages.push_back({page, Bytes(found->second.begin(), found->second.end())});
    }
    return delta;
  }

  std::mt19937_64 random;
  std::map<uint32_t, Memory> memories;
};

class TestHolder final : public MemoryHolder {
 public:
  explicit TestHolder(std::vector<snapshot::PageRun> runs) : runs_(std::move(runs)) {}
  size_t read(GuestAddress address, std::span<uint8_t> bytes) const override {
    std::fill(bytes.begin(), bytes.end(), 0xee);  // what it is not to be asked for
    for (size_t done = 0; done < bytes.size(); done += kPageSize) {
      snapshot::read_runs(runs_, address + done,
                          bytes.subspan(done, std::min(kPageSize, bytes.size() - done)));
    }
    return bytes.size();
  }

 private:
  std::vector<snapshot::PageRun> runs_;
};

class LostHolder final : public MemoryHolder {
 public:
  size_t read(GuestAddress, std::span<uint8_t>) const override { return 0; }
};

// Leaves some of the pages to a holder.
PageDelta with_holder(PageDelta delta, std::mt19937_64& random) {
  std::vector<snapshot::PageRun> held;
  for (size_t i = delta.pages.size(); i-- > 0;) {
    if (random() % 2 == 0) continue;
    held.insert(held.begin(), delta.pages[i]);
    delta.pages.erase(delta.pages.begin() + static_cast<ptrdiff_t>(i));
  }
  for (const snapshot::PageRun& run : held) {
    snapshot::append_in_order(delta.held, range_of(run.address, run.bytes.size()));
  }
  delta.holder = std::make_shared<const TestHolder>(std::move(held));
  return delta;
}

void expect_pages(SnapshotSource& source, SnapshotNumber number, const Memory& expected) {
  const auto pages = source.pages(number);
  ASSERT_TRUE(pages) << pages.error().message();
  Memory found;
  const auto read = snapshot::read_pages(
      *pages, [&source](uint32_t chunk) { return source.page_chunk(chunk); },
      [&found](GuestAddress page, std::span<const uint8_t, kPageSize> content) -> Result<void> {
        std::copy(content.begin(), content.end(), found[page].begin());
        return {};
      });
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(found, expected) << "snapshot " << number.value;
}

// A recording with page snapshots, all of it checked; null if it is none.
std::unique_ptr<TraceReader> opened(const TemporaryFile& file) {
  auto reader = TraceReader::open(file.path());
  EXPECT_TRUE(reader) << reader.error().message();
  if (!reader) return nullptr;
  EXPECT_TRUE((*reader)->verify());
  EXPECT_NE((*reader)->snapshots(), nullptr);
  return (*reader)->snapshots() == nullptr ? nullptr : std::move(*reader);
}

TEST(Snapshots, ReadBackFromAFile) {
  const TemporaryFile file;
  Lives lives(3);
  RandomEvents events(5);
  std::vector<Snapshot> written;
  std::vector<Memory> memories;
  {
    const auto writer = TraceWriter::create(file.path(), {});
    ASSERT_TRUE(writer);
    EXPECT_FALSE((*writer)->add_snapshot(some_snapshot(0, lives.random), {}));  // no event yet
    for (int i = 0; i < 400; ++i) {
      const auto event = (*writer)->append(events.event());
      ASSERT_TRUE(event);
      const auto space = static_cast<uint32_t>(lives.random() % 2);
      Snapshot taken = some_snapshot(space, lives.random);
      PageDelta delta = lives.advance(space);
      memories.push_back(lives.memories[space]);
      std::weak_ptr<const MemoryHolder> holder;
      if (i % 3 == 0) {
        delta = with_holder(std::move(delta), lives.random);
        holder = delta.holder;
      }
      ASSERT_TRUE((*writer)->add_snapshot(taken, std::move(delta)));
      while (i % 30 == 0 && !holder.expired()) std::this_thread::yield();  // let go of, read
      taken.event = *event;
      written.push_back(std::move(taken));
    }
    ASSERT_TRUE((*writer)->close());
  }
  const auto reader = opened(file);
  ASSERT_NE(reader, nullptr);
  SnapshotSource* const source = reader->snapshots();
  ASSERT_EQ(source->marks().size(), written.size());
  // From the last one back: nothing may depend on the order of the questions.
  for (SnapshotNumber number{static_cast<uint32_t>(written.size())}; number.value-- > 0;) {
    const Snapshot& expected = written[number.value];
    EXPECT_EQ(source->marks()[number.value].event, expected.event);
    EXPECT_EQ(source->marks()[number.value].space, expected.image.space);
    const auto found = source->snapshot(number);
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(**found, expected);
    expect_pages(*source, number, memories[number.value]);
  }
}

// The recording goes on; the other spaces have theirs.
TEST(Snapshots, AreNoneOfASpaceWhoseHolderWasLost) {
  const TemporaryFile file;
  Lives lives(4);
  RandomEvents events(5);
  std::vector<Memory> memories;
  {
    const auto writer = TraceWriter::create(file.path(), {});
    ASSERT_TRUE(writer);
    for (int i = 0; i < 60; ++i) {
      ASSERT_TRUE((*writer)->append(events.event()));
      const uint32_t space = i % 2;
      PageDelta delta = lives.advance(space);
      if (i == 21) {
        delta.held = {range_of({0x1000}, kPageSize)};
        delta.holder = std::make_shared<const LostHolder>();
      }
      if (space == 0 || i < 21) memories.push_back(lives.memories[space]);
      ASSERT_TRUE((*writer)->add_snapshot(some_snapshot(space, lives.random), std::move(delta)));
    }
    ASSERT_TRUE((*writer)->close());
  }
  const auto reader = opened(file);
  ASSERT_NE(reader, nullptr);
  SnapshotSource* const source = reader->snapshots();
  ASSERT_EQ(source->marks().size(), memories.size());
  for (uint32_t number = 0; number < memories.size(); ++number) {
    expect_pages(*source, {number}, memories[number]);
  }
}

// Processes that are forked, and what their memories were at each snapshot.
class Forks {
 public:
  Forks() {
    auto created = TraceWriter::create(file.path(), {});
    EXPECT_TRUE(created);
    writer = std::move(*created);
  }

  void fill(uint32_t space, uint64_t pages) {
    for (uint64_t page = 0; page < pages; ++page) {
      for (uint8_t& byte : memories[space][{0x1000 + page * kPageSize}]) {
        byte = static_cast<uint8_t>(random());
      }
    }
  }
  void fork(uint32_t space, uint32_t parent) {
    SpawnEvent spawn;
    spawn.parent_space = parent;
    spawn.kind = SpawnKind::kFork;
    ASSERT_TRUE(writer->append({1, std::move(spawn), {17}, space}));
    memories[space] = memories[parent];
  }
  void change(uint32_t space, uint64_t page) {
    memories[space].at({0x1000 + page * kPageSize})[random() % kPageSize] ^= 1;
  }
  // Of all pages.
  void take(uint32_t space) {
    PageDelta delta;
    for (const auto& [page, content] : memories[space]) {
      delta.pages.push_back({page, Bytes(content.begin(), content.end())});
    }
    if (taken.size() % 2 == 1) delta = with_holder(std::move(delta), random);
    ASSERT_TRUE(writer->append(events.event()));
    ASSERT_TRUE(writer->add_snapshot(some_snapshot(space, random), std::move(delta)));
    taken.push_back(memories[space]);
  }
  // How many bytes the snapshots take. From the last one back: nothing may depend on the order.
  uint64_t check() {
    EXPECT_TRUE(writer->close());
    const auto reader = opened(file);
    if (reader == nullptr) return 0;
    SnapshotSource& source = *reader->snapshots();
    EXPECT_EQ(source.marks().size(), taken.size());
    for (auto number = static_cast<uint32_t>(taken.size()); number-- > 0;) {
      expect_pages(source, {number}, taken[number]);
    }
    return reader->snapshots_stored_bytes();
  }

  const TemporaryFile file;
  std::unique_ptr<TraceWriter> writer;
  std::mt19937_64 random{21};
  RandomEvents events{6};
  std::map<uint32_t, Memory> memories;
  std::vector<Memory> taken;
};

constexpr uint64_t kForkedPages = 200;
// What it takes to name them, and what random pages take when all of one memory are stored.
constexpr uint64_t kNamedBytes = kForkedPages * 16 + 4096, kStoredBytes = kForkedPages * kPageSize;

TEST(Snapshots, OfForksHaveTheirParentsPages) {
  Forks forks;
  forks.fill(0, kForkedPages);
  forks.take(0);
  forks.fork(1, 0);
  forks.change(0, 5);
  forks.take(0);
  forks.change(1, 6);
  forks.take(1);
  forks.change(1, 6);
  // Of a child whose parent has ended, and that of one that has no snapshot.
  forks.fork(2, 1);
  ASSERT_TRUE(forks.writer->end_space(1));
  forks.fork(3, 2);
  forks.take(3);
  forks.take(2);
  for (int i = 0; i < 40; ++i) {
    const uint32_t space = std::array{0, 2, 3}[static_cast<size_t>(i % 3)];
    forks.change(space, static_cast<uint64_t>(i) % 10);
    forks.take(space);
  }
  EXPECT_LT(forks.check(), kStoredBytes + 6 * kNamedBytes + 40 * 8192);
}

// A parent may wait for its children; they are like one another, and it is like them.
TEST(Snapshots, OfForksHavePagesOfAnyKin) {
  Forks forks;
  forks.fill(4, kForkedPages);
  for (uint32_t child = 5; child < 9; ++child) forks.fork(child, 4);
  for (uint32_t child = 5; child < 9; ++child) {
    forks.change(child, child);
    forks.take(child);
  }
  forks.take(4);
  EXPECT_LT(forks.check(), kStoredBytes + 5 * kNamedBytes);
}

// Not every memory with the same contents is known to be a copy.
TEST(Snapshots, OfOthersStoreTheirPages) {
  Forks forks;
  forks.fill(0, kForkedPages);
  forks.memories[1] = forks.memories[0];
  forks.take(0);
  forks.take(1);
  EXPECT_GT(forks.check(), 2 * kStoredBytes);
}

TEST(Snapshots, AreNoneInARecordingWithout) {
  const TemporaryFile file;
  RandomEvents events(5);
  const auto writer = TraceWriter::create(file.path(), {});
  ASSERT_TRUE((*writer)->append(events.event()));
  ASSERT_TRUE((*writer)->close());
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader);
  EXPECT_EQ((*reader)->snapshots(), nullptr);
}

TEST(Snapshots, DecodesNothingThatIsCutOrChanged) {
  std::mt19937_64 random(9);
  std::vector<PageChange> changes;
  for (uint64_t i = 0; i < 40; ++i) {
    PageVersion version;
    version.kind = static_cast<PageVersion::Kind>(random() % 4);
    if (version.is_kept()) version = {version.kind, static_cast<uint8_t>(i % 16), 7, random()};
    changes.push_back({{i * 3 * kPageSize}, version});
  }
  Snapshot taken = some_snapshot(0, random);
  const Bytes bytes = encode_snapshot(taken, changes);
  const auto whole = decode_snapshot(bytes, "test", 0);
  ASSERT_TRUE(whole) << whole.error().message();
  EXPECT_EQ(whole->changes, changes);
  EXPECT_EQ(whole->snapshot, taken);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_snapshot(ByteView(bytes).first(size), "test", 0)) << size;
  }
  // Whatever it says, it is an error or a snapshot.
  for (size_t at = 0; at < bytes.size(); ++at) {
    Bytes changed = bytes;
    changed[at] ^= static_cast<uint8_t>(1u << random() % 8);
    (void)decode_snapshot(changed, "test", 0);
  }
}

}  // namespace
}  // namespace rchk::trace
