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

AddressRange page_range(uint64_t page) { return range_of({page * kPageSize}, kPageSize); }

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
  explicit PageStoreModel(uint64_t seed) : random_(seed) {
    lines_.push_back({}), store.add_line({});
  }

  void advance() {
    const auto line = static_cast<uint32_t>(below(lines_.size()));
    const Memory before = lines_[line];
    Memory& now = lines_[line];
    PageStore::Change change;
    for (uint64_t i = below(40); i > 0; --i) change_page(now, change);
    change.pages = normalized(std::move(change.pages));
    change.reset = normalized(std::move(change.reset));
    const ReadMemory earlier = below(8) == 0 ? ReadMemory() : reader_of(before);
    const auto id = store.add(line, change, reader_of(now), earlier);
    ASSERT_TRUE(id) << id.error().message();
    ASSERT_EQ(id->value, taken.size());
    taken.push_back(now);
    if (below(20) == 0 && lines_.size() < 4) {
      lines_.push_back(now);
      ASSERT_EQ(store.add_line(*id), lines_.size() - 1);
    }
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
  store.add_line({});
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
  for (uint32_t line = 0; line < kLines; ++line) ASSERT_EQ(store.add_line({}), line);
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
    for (uint32_t line = 0; line < kLines; ++line) ASSERT_TRUE(store.rewrite(line));
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
  store.add_line({});
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
  store.add_line({});
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
  store.add_line({});
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
  const uint32_t child = store.add_line(two);
  const SnapshotId changed = write(child, 2, 3);
  EXPECT_EQ(store.last_change(changed, {kPageSize}), one);
  EXPECT_EQ(store.last_change(changed, {2 * kPageSize}), changed);
  EXPECT_EQ(store.last_change(same, {2 * kPageSize}), two);
}

TEST(PageStore, FindsDamage) {
  FakeKeeper keeper;
  PageStore store(keeper);
  store.add_line({});
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
  store.add_line({});
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
