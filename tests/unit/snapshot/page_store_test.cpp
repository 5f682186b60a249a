#include "snapshot/page_store.h"

#include <array>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace rchk::snapshot {
namespace {

using Content = std::array<uint8_t, kPageSize>;
using Memory = std::map<uint64_t, Content>;  // by address; what is not there is as it began

ReadMemory reader_of(const Memory& memory) {
  return [&memory](GuestAddress address, std::span<uint8_t> out) -> size_t {
    size_t done = 0;
    for (; done < out.size(); done += kPageSize) {
      const auto page = memory.find(address.value + done);
      if (page == memory.end()) break;
      std::memcpy(out.data() + done, page->second.data(), kPageSize);
    }
    return done;
  };
}

AddressRange page_range_at(uint64_t address) { return range_of({address}, kPageSize); }
AddressRange page_range(uint64_t page) { return page_range_at(page * kPageSize); }

void expect_memory(PageStore& store, SnapshotId snapshot, const Memory& expected) {
  std::vector<GuestAddress> pages;
  for (const auto& [address, content] : expected) {
    Content found;
    const auto had = store.read(snapshot, {address}, found);
    ASSERT_TRUE(had) << had.error().message();
    ASSERT_TRUE(*had) << "page " << address << " of snapshot " << snapshot.value;
    ASSERT_EQ(found, content) << "page " << address << " of snapshot " << snapshot.value;
    pages.push_back({address});
  }
  EXPECT_EQ(store.pages_of(snapshot), pages);
}

// A keeper whose chunks can be damaged, and that says how many there are.
class FakeKeeper final : public ChunkKeeper {
 public:
  void put(ChunkId id, Bytes chunk) override { chunks[id.value] = std::move(chunk); }
  Result<std::shared_ptr<const Bytes>> get(ChunkId id) override {
    const auto found = chunks.find(id.value);
    if (found == chunks.end()) return fail(ErrorKind::kBadTrace, "no such chunk");
    return std::make_shared<const Bytes>(found->second);
  }
  void drop(ChunkId id) override { ASSERT_EQ(chunks.erase(id.value), 1u); }
  uint64_t stored_bytes() const override { return chunks.size(); }
  std::map<uint32_t, Bytes> chunks;
};

// Random lives of lines, compared with all that they were at each snapshot.
class PageStoreModel {
 public:
  explicit PageStoreModel(uint64_t seed) : random_(seed) { lines_.push_back({}), store.add_line(); }

  void advance() {
    const auto line = static_cast<uint32_t>(below(lines_.size()));
    const Memory before = kin_[line].empty() ? lines_[line] : Memory();
    Memory& now = lines_[line];
    PageStore::Change change;
    change.kin = std::exchange(kin_[line], {});
    if (!change.kin.empty()) {
      for (const auto& [address, content] : now) change.pages.push_back(page_range_at(address));
    }
    for (uint64_t i = below(40); i > 0; --i) change_page(now, change);
    change.pages = normalized(std::move(change.pages));
    change.reset = normalized(std::move(change.reset));
    const ReadMemory earlier = below(8) == 0 ? ReadMemory() : reader_of(before);
    const auto id = store.add(line, change, reader_of(now), earlier);
    ASSERT_TRUE(id) << id.error().message();
    ASSERT_EQ(id->value, taken.size());
    taken.push_back(now);
    if (below(20) == 0 && lines_.size() < 4) fork(line);
  }

  // A line's first snapshot has all of its pages, and comes when both have changed.
  void fork(uint32_t parent) {
    const Memory copy = lines_[parent];
    lines_.push_back(copy);
    const auto other = static_cast<uint32_t>(below(lines_.size() - 1));
    kin_[store.add_line()] = {parent, other};
  }

  uint64_t below(uint64_t limit) { return random_() % limit; }

  MemoryChunkKeeper keeper;
  PageStore store{keeper};
  std::vector<Memory> taken;

 private:
  void change_page(Memory& now, PageStore::Change& change) {
    const uint64_t page = below(300);
    const uint64_t address = page * kPageSize;
    if (below(10) == 0) {
      // Discarded; a write may follow.
      now.erase(address);
      change.reset.push_back(page_range(page));
      if (below(2) == 0) return;
    }
    change.pages.push_back(page_range(page));
    Content& content = now[address];
    switch (below(5)) {
      case 0:
        content.fill(0);
        break;
      case 1:
        for (uint8_t& byte : content) byte = static_cast<uint8_t>(random_());
        break;
      case 2:
        break;  // written with what it held
      default:
        content[below(kPageSize)] = static_cast<uint8_t>(random_());
    }
  }

  std::mt19937_64 random_;
  std::vector<Memory> lines_;
  std::map<uint32_t, std::vector<uint32_t>> kin_;  // of lines without a snapshot
};

TEST(PageStore, KeepsEverySnapshotOfRandomLives) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    PageStoreModel model(seed);
    for (int i = 0; i < 200; ++i) model.advance();
    for (uint32_t i = 0; i < model.taken.size(); ++i) {
      expect_memory(model.store, {i}, model.taken[i]);
      if (HasFatalFailure()) FAIL() << "seed " << seed;
    }
    EXPECT_GT(model.store.unchanged_count(), 0u);
    EXPECT_GT(model.store.shared_count(), 0u);
  }
}

TEST(PageStore, ForgetsTheOldestAndKeepsTheRest) {
  for (uint64_t seed = 10; seed < 13; ++seed) {
    PageStoreModel model(seed);
    uint32_t first = 0;
    for (int round = 0; round < 20; ++round) {
      for (int i = 0; i < 20; ++i) model.advance();
      first += static_cast<uint32_t>(model.below(20));
      model.store.drop_before({first});
      const auto last = static_cast<uint32_t>(model.taken.size() - 1);
      const auto between = first + static_cast<uint32_t>(model.below(last - first + 1));
      for (const uint32_t i : {first, between, last}) {
        expect_memory(model.store, {i}, model.taken[i]);
        if (HasFatalFailure()) FAIL() << "seed " << seed << ", first " << first;
      }
    }
  }
}

TEST(PageStore, IsBoundedWhenTheOldestAreForgotten) {
  FakeKeeper keeper;
  PageStore store(keeper);
  store.add_line();
  std::mt19937_64 random(1);
  Memory memory;
  size_t most = 0;
  for (uint32_t i = 0; i < 2000; ++i) {
    const Memory before = memory;
    PageStore::Change change;
    for (uint64_t page = 0; page < 32; ++page) {
      change.pages.push_back(page_range(page));
      memory[page * kPageSize][random() % kPageSize] = static_cast<uint8_t>(random());
    }
    change.pages = normalized(std::move(change.pages));
    ASSERT_TRUE(store.add(0, change, reader_of(memory), reader_of(before)));
    if (i >= 10) store.drop_before({i - 10});
    most = std::max(most, keeper.chunks.size());
  }
  // 32 pages with 16 versions before the ten, two chunks a snapshot.
  EXPECT_LE(most, 2u * (10 + 16 + 2));
  expect_memory(store, {1999}, memory);
}

TEST(PageStore, RewritesWhatIsStillNeeded) {
  FakeKeeper keeper;
  PageStore store(keeper);
  std::mt19937_64 random(4);
  constexpr uint32_t kLines = 2;
  Memory memory[kLines];
  for (uint32_t line = 0; line < kLines; ++line) ASSERT_EQ(store.add_line(), line);
  std::vector<std::pair<SnapshotId, Memory>> taken;
  for (int round = 0; round < 40; ++round) {
    const SnapshotId first{store.snapshot_count()};
    SnapshotId last{};
    for (int i = 0; i < 20; ++i) {
      const auto line = static_cast<uint32_t>(random() % kLines);
      const Memory before = memory[line];
      PageStore::Change change;
      for (int page = 0; page < 10; ++page) {
        const uint64_t number = random() % 100;
        change.pages.push_back(page_range(number));
        Content& content = memory[line][number * kPageSize];
        content[random() % kPageSize] = static_cast<uint8_t>(random());
      }
      change.pages = normalized(std::move(change.pages));
      const auto id = store.add(line, change, reader_of(memory[line]), reader_of(before));
      ASSERT_TRUE(id) << id.error().message();
      last = *id;
      taken.emplace_back(*id, memory[line]);
    }
    for (const auto& [id, expected] : taken) expect_memory(store, id, expected);
    const uint32_t highest = keeper.chunks.empty() ? 0 : keeper.chunks.rbegin()->first;
    ASSERT_TRUE(store.rewrite({0, 1}));
    store.flush();
    // What was taken before is as it was, until it is forgotten.
    for (const auto& [id, expected] : taken) expect_memory(store, id, expected);
    store.drop_before(last);
    std::erase_if(taken, [&](const auto& item) { return item.first < last; });
    for (const auto& [id, expected] : taken) expect_memory(store, id, expected);
    ASSERT_FALSE(keeper.chunks.empty());
    EXPECT_GT(keeper.chunks.begin()->first, highest);
    EXPECT_LE(keeper.chunks.size(), 2 * 100 / PageChunk::kSlots + 2);
    EXPECT_GE(last, first);
  }
}

TEST(PageStore, LooksAtABoundedNumberOfChunks) {
  class CountingKeeper final : public ChunkKeeper {
   public:
    void put(ChunkId id, Bytes chunk) override { keeper.put(id, std::move(chunk)); }
    Result<std::shared_ptr<const Bytes>> get(ChunkId id) override { return ++gets, keeper.get(id); }
    void drop(ChunkId id) override { keeper.drop(id); }
    uint64_t stored_bytes() const override { return keeper.stored_bytes(); }
    FakeKeeper keeper;
    uint64_t gets = 0;
  } keeper;
  PageStore store(keeper);
  store.add_line();
  Memory memory;
  for (uint32_t i = 0; i < 1000; ++i) {
    const Memory before = memory;
    memory[0][i % kPageSize] = static_cast<uint8_t>(i + 1);
    ASSERT_TRUE(store.add(0, {{page_range(0)}, {}}, reader_of(memory), reader_of(before)));
  }
  Content content;
  for (uint32_t i = 0; i < 1000; ++i) {
    keeper.gets = 0;
    ASSERT_TRUE(store.read({i}, {0}, content).value());
    EXPECT_LE(keeper.gets, PageChunk::kMostDifferences + 1u);
  }
}

TEST(PageStore, StoresLittleForLittleChanges) {
  MemoryChunkKeeper keeper;
  PageStore store(keeper);
  store.add_line();
  std::mt19937_64 random(7);
  Memory memory;
  const auto snapshot = [&](const Memory& before) {
    ASSERT_TRUE(store.add(0, {{range_of({0}, 1000 * kPageSize)}, {}}, reader_of(memory),
                          reader_of(before)));
  };
  for (uint64_t page = 0; page < 1000; ++page) {
    for (uint8_t& byte : memory[page * kPageSize]) byte = static_cast<uint8_t>(random());
  }
  snapshot({});
  store.flush();
  keeper.wait();
  const uint64_t first = keeper.stored_bytes();
  EXPECT_GT(first, 1000 * kPageSize);  // random bytes
  for (int i = 0; i < 10; ++i) {
    const Memory before = memory;
    for (auto& [address, content] : memory) {
      const uint64_t value = random();
      std::memcpy(content.data() + value % 4000, &value, sizeof(value));
    }
    snapshot(before);
  }
  store.flush();
  keeper.wait();
  EXPECT_LT((keeper.stored_bytes() - first) / (10 * 1000), 40u);
}

TEST(PageStore, TellsWhenAPageChangedLast) {
  FakeKeeper keeper;
  PageStore store(keeper);
  store.add_line();
  Memory memory, before;
  const auto write = [&](uint32_t line, uint64_t page, uint8_t value) {
    before = memory;
    memory[page * kPageSize].fill(value);
    return store.add(line, {{page_range(page)}, {}}, reader_of(memory), reader_of(before)).value();
  };
  const SnapshotId one = write(0, 1, 1);
  const SnapshotId two = write(0, 2, 2);
  const SnapshotId same = write(0, 1, 1);  // with what it held
  EXPECT_EQ(store.last_change(same, {kPageSize}), one);
  EXPECT_EQ(store.last_change(one, {2 * kPageSize}), std::nullopt);
  EXPECT_TRUE(store.changed_in(same).empty());
  ASSERT_EQ(store.changed_in(two).size(), 1u);
  EXPECT_EQ(store.changed_in(two)[0].page, GuestAddress{2 * kPageSize});
  const uint32_t child = store.add_line();
  const SnapshotId changed = write(child, 2, 3);
  EXPECT_EQ(store.last_change(changed, {kPageSize}), std::nullopt);
  EXPECT_EQ(store.last_change(changed, {2 * kPageSize}), changed);
  EXPECT_EQ(store.last_change(same, {2 * kPageSize}), two);
}

// A memory and its copies, all pages of which are random.
class Family {
 public:
  explicit Family(uint64_t pages) {
    for (uint64_t page = 0; page < pages; ++page) {
      for (uint8_t& byte : memory[page * kPageSize]) byte = static_cast<uint8_t>(random());
    }
  }

  // The first snapshot of a new line.
  SnapshotId begin(const Memory& now, std::vector<uint32_t> kin) {
    PageStore::Change change{.pages = {}, .reset = {}, .kin = std::move(kin)};
    for (const auto& [address, content] : now) change.pages.push_back(page_range_at(address));
    change.pages = normalized(std::move(change.pages));
    const auto id = store.add(store.add_line(), change, reader_of(now), reader_of({}));
    EXPECT_TRUE(id) << id.error().message();
    return *id;
  }
  SnapshotId change(uint32_t line, Memory& now, uint64_t page, uint8_t value) {
    const Memory before = now;
    now[page * kPageSize][page % kPageSize] = value;
    return store.add(line, {{page_range(page)}, {}, {}}, reader_of(now), reader_of(before)).value();
  }
  size_t chunks() {
    store.flush();
    return keeper.chunks.size();
  }

  std::mt19937_64 random{11};
  FakeKeeper keeper;
  PageStore store{keeper};
  Memory memory;
};

TEST(PageStoreKin, AreKeptOnceWhereTheyAreEqual) {
  Family family(64);
  family.begin(family.memory, {});
  ASSERT_EQ(family.chunks(), 64u / PageChunk::kSlots);
  Memory child = family.memory;
  child[3 * kPageSize][5] ^= 1;
  child[100 * kPageSize].fill(9);  // that the parent has not
  child[101 * kPageSize].fill(0);
  child.erase(7 * kPageSize);
  const SnapshotId id = family.begin(child, {0});
  EXPECT_EQ(family.chunks(), 64u / PageChunk::kSlots + 1);
  EXPECT_EQ(family.store.shared_count(), 62u);
  expect_memory(family.store, {0}, family.memory);
  expect_memory(family.store, id, child);
  // All that it has is named, so that nobody has to know where it came from.
  EXPECT_EQ(family.store.changed_in(id).size(), child.size());
  EXPECT_EQ(family.store.versions_of(id).size(), child.size());
}

TEST(PageStoreKin, FindWhatTheyWereBefore) {
  Family family(16);
  const Memory at_fork = family.memory;
  family.begin(family.memory, {});
  for (uint8_t value = 1; value < 12; ++value) family.change(0, family.memory, 2, value);
  const size_t chunks = family.chunks();
  const SnapshotId id = family.begin(at_fork, {0});
  EXPECT_EQ(family.chunks(), chunks);
  EXPECT_EQ(family.store.shared_count(), 16u);
  expect_memory(family.store, id, at_fork);
}

TEST(PageStoreKin, AreLookedAtInTheirOrder) {
  Family family(16);
  family.begin(family.memory, {});
  Memory second = family.memory, third = family.memory;
  second[0].fill(1);
  family.begin(second, {0});
  third[0].fill(1);
  const size_t chunks = family.chunks();
  const SnapshotId id = family.begin(third, {0, 1});
  EXPECT_EQ(family.chunks(), chunks);
  expect_memory(family.store, id, third);
}

// However long the way is that kin's version stands on.
TEST(PageStoreKin, StandOnABoundedNumberOfChunks) {
  Family family(1);
  family.begin(family.memory, {});
  std::vector<std::pair<SnapshotId, Memory>> taken;
  for (uint32_t line = 0; line < 60; ++line) {
    family.chunks();
    Memory child = family.memory;
    child[0][line] ^= 0xff;
    taken.emplace_back(family.begin(child, {line}), child);
    family.memory = child;
  }
  for (const auto& [id, expected] : taken) expect_memory(family.store, id, expected);
  EXPECT_GT(family.store.version_count(), 60u);
  EXPECT_LE(family.store.version_count(), 61u * (PageChunk::kMostDifferences + 1));
}

TEST(PageStoreKin, AreForgottenEachByItself) {
  for (const bool parent_first : {true, false}) {
    Family family(40);
    Memory& parent = family.memory;
    family.begin(parent, {});
    family.change(0, parent, 1, 1);
    Memory child = parent;
    SnapshotId last_child = family.begin(child, {0});
    SnapshotId last_parent = family.change(0, parent, 2, 1);
    for (uint8_t value = 2; value < 100; ++value) {
      last_child = family.change(1, child, value % 40, value);
      last_parent = family.change(0, parent, value % 7, value);
      family.chunks();
      if (value % 10 == 0) family.store.drop_before(last_child);
      expect_memory(family.store, last_child, child);
      expect_memory(family.store, last_parent, parent);
    }
    family.store.end_line(parent_first ? 0 : 1);
    Memory& living = parent_first ? child : parent;
    const SnapshotId last = family.change(parent_first ? 1 : 0, living, 5, 200);
    family.chunks();
    family.store.drop_before(last);
    expect_memory(family.store, last, living);
    family.store.end_line(parent_first ? 1 : 0);
    family.store.drop_before({last.value + 1});
    EXPECT_TRUE(family.keeper.chunks.empty());
    EXPECT_EQ(family.store.version_count(), 0u);
  }
}

// More of them than eight bits hold.
TEST(PageStoreKin, ShareOneSlotHoweverManyTheyAre) {
  Family family(3);
  family.begin(family.memory, {});
  SnapshotId last{};
  for (uint32_t child = 0; child < 300; ++child) last = family.begin(family.memory, {child});
  EXPECT_EQ(family.chunks(), 1u);
  for (uint32_t line = 0; line < 300; ++line) family.store.end_line(line);
  family.store.drop_before(last);
  expect_memory(family.store, last, family.memory);
  family.store.end_line(300);
  family.store.drop_before({last.value + 1});
  EXPECT_TRUE(family.keeper.chunks.empty());
}

TEST(PageStoreKin, AreRewrittenOnce) {
  Family family(64);
  family.begin(family.memory, {});
  Memory child = family.memory;
  const SnapshotId begun = family.begin(child, {0});
  for (int round = 0; round < 3; ++round) {
    const SnapshotId id = family.change(1, child, 3, static_cast<uint8_t>(round + 100));
    const size_t chunks = family.chunks();
    const uint32_t highest = family.keeper.chunks.rbegin()->first;
    ASSERT_TRUE(family.store.rewrite({0, 1}));
    EXPECT_LE(family.chunks(), chunks + 64 / PageChunk::kSlots + 1);
    expect_memory(family.store, id, child);
    if (round == 0) expect_memory(family.store, begun, family.memory);
    family.store.drop_before(id);
    expect_memory(family.store, id, child);
    EXPECT_GT(family.keeper.chunks.begin()->first, highest);
    // What begins with them then refers to nothing that is older.
    const SnapshotId third = family.begin(child, {1});
    expect_memory(family.store, third, child);
    for (const PageChange& page : family.store.versions_of(third)) {
      EXPECT_GT(page.version.chunk, highest);
    }
    family.store.end_line(family.store.line_of(third));
  }
}

TEST(PageStoreKin, ThatAreDamagedAreNotBelieved) {
  Family family(1);
  family.begin(family.memory, {});
  ASSERT_EQ(family.chunks(), 1u);
  family.keeper.chunks[0][PageChunk::kHeadBytes + 100] ^= 1;
  const auto added = family.store.add(family.store.add_line(), {{page_range(0)}, {}, {0}},
                                      reader_of(family.memory), {});
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().kind, ErrorKind::kBadTrace);
}

// All is given anew where nothing tells what changed.
TEST(PageStoreKin, MayBeTheLineItself) {
  Family family(32);
  Memory& memory = family.memory;
  family.begin(memory, {});
  for (uint8_t value = 1; value < 4; ++value) family.change(0, memory, 3, value);
  const size_t chunks = family.chunks();
  PageStore::Change all{{range_of({0}, 32 * kPageSize)}, {range_of({0}, 64 * kPageSize)}, {0}};
  const Memory before = memory;
  memory[4 * kPageSize][7] ^= 1;
  memory.erase(5 * kPageSize);
  const auto id = family.store.add(0, all, reader_of(memory), {});
  ASSERT_TRUE(id) << id.error().message();
  EXPECT_EQ(family.chunks(), chunks + 1);
  EXPECT_EQ(family.store.shared_count(), 30u);
  expect_memory(family.store, {id->value - 1}, before);
  expect_memory(family.store, *id, memory);
  EXPECT_EQ(family.store.changed_in(*id).size(), 32u);
  family.store.drop_before(*id);
  expect_memory(family.store, *id, memory);
  const SnapshotId later = family.change(0, memory, 3, 9);
  family.chunks();
  expect_memory(family.store, later, memory);
  family.store.end_line(0);
  family.store.drop_before({later.value + 1});
  EXPECT_TRUE(family.keeper.chunks.empty());
}

// One that was forgotten, or does not exist, has nothing.
TEST(PageStoreKin, MayBeGone) {
  Family family(20);
  family.begin(family.memory, {});
  family.chunks();
  family.store.end_line(0);
  family.store.drop_before({1});
  const SnapshotId id = family.begin(family.memory, {0, 77});
  EXPECT_EQ(family.store.shared_count(), 0u);
  expect_memory(family.store, id, family.memory);
}

TEST(PageStore, FindsDamage) {
  FakeKeeper keeper;
  PageStore store(keeper);
  store.add_line();
  Memory memory;
  memory[0].fill(1);
  ASSERT_TRUE(store.add(0, {{page_range(0)}, {}}, reader_of(memory), {}));
  store.flush();
  const Bytes intact = keeper.chunks[0];
  keeper.chunks[0][PageChunk::kHeadBytes + 100] ^= 1;
  Content content;
  const auto damaged = store.read({0}, {0}, content);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().kind, ErrorKind::kBadTrace);
  // A page that is a difference to itself.
  keeper.chunks[0] = intact;
  keeper.chunks[0][offsetof(PageChunk::Base, is_difference)] = 1;
  EXPECT_FALSE(store.read({0}, {0}, content));
  keeper.chunks[0].resize(10);
  EXPECT_FALSE(store.read({0}, {0}, content));
  keeper.chunks.clear();
  EXPECT_FALSE(store.read({0}, {0}, content));
}

TEST(PageStore, TrustsNoEarlierContentThatIsNotItsOwn) {
  FakeKeeper keeper;
  PageStore store(keeper);
  store.add_line();
  Memory memory, wrong;
  memory[0].fill(1);
  ASSERT_TRUE(store.add(0, {{page_range(0)}, {}}, reader_of(memory), {}));
  memory[0].fill(2);
  wrong[0].fill(3);
  ASSERT_TRUE(store.add(0, {{page_range(0)}, {}}, reader_of(memory), reader_of(wrong)));
  expect_memory(store, {1}, memory);
}

}  // namespace
}  // namespace rchk::snapshot
