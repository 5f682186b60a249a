// Recordings of which only the end is kept: from the recorder's side of a file to the replay's.

#include <array>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "engine/trace/codec.h"
#include "engine/trace/process_table.h"
#include "engine/trace/reader.h"
#include "engine/trace/task_names.h"
#include "engine/trace/writer.h"
#include "file_builder.h"
#include "temporary_file.h"

namespace rchk::trace {
namespace {

using Content = std::array<uint8_t, kPageSize>;
using Memory = std::map<GuestAddress, Content>;

constexpr uint32_t kSpaces = 2;
constexpr uint64_t kKept = 1 << 20;

Event exec_of(uint32_t space, std::optional<FileId> file) {
  ExecEvent exec;
  exec.executable = "/program";
  exec.pid = 100 + static_cast<int32_t>(space);
  Mapping mapping;
  mapping.range = range_of({0x1000}, 64 * kPageSize);
  if (file) mapping.backing = snapshot::FileBacking{*file, 0};
  exec.mappings.push_back(mapping);
  return {5, std::move(exec), {100 + static_cast<int32_t>(space)}, space};
}

Event call_of(uint32_t space, uint64_t number) {
  SyscallEvent call;
  call.before.rax = number;
  call.number = static_cast<int32_t>(number);
  call.after.rax = number * 7;
  return {1000 * number, std::move(call), {100 + static_cast<int32_t>(space)}, space};
}

Bytes file_contents(uint32_t file) { return Bytes(3000, static_cast<uint8_t>(file + 1)); }

// What a recorder would do for two processes, and all that it told the writer.
class Life {
 public:
  explicit Life(TraceWriter& writer) : writer_(writer) {
    add_file();
    append(exec_of(0, current_file_));
    name({100}, "first");
    name({200}, "waits");
    SpawnEvent spawn;
    spawn.parent = {100};
    spawn.pid = 101;
    spawn.kind = SpawnKind::kFork;
    append({7, std::move(spawn), {101}, 1});
  }

  void go_on() {
    for (int i = 0; i < 50; ++i) append(call_of(random_() % kSpaces, events.size()));
    if (random_() % 8 == 0) name({100}, fmt::format("{} events", events.size()));
    const auto space = static_cast<uint32_t>(random_() % kSpaces);
    append(call_of(space, events.size()));
    Snapshot taken;
    taken.image = exec_of(space, std::nullopt);
    ASSERT_TRUE(writer_.add_snapshot(taken, change(space)));
    snapshots.push_back({events.size() - 1, memories[space]});
    if (!writer_.wants_beginning()) return;
    if (random_() % 2 == 0) add_file();
    std::vector<KeptProcess> kept;
    for (uint32_t i = 0; i < kSpaces; ++i) {
      KeptProcess& process = kept.emplace_back();
      process.event = exec_of(i, current_file_);
      process.resumed.is_first = i == 0;
      process.resumed.arguments = {"program", "x"};
      process.resumed.others.push_back({{200 + static_cast<int32_t>(i)}, true, {}, {1, 2}});
      process.delta = change(i);
    }
    beginnings[events.size()] = {memories[0], memories[1]};
    ASSERT_TRUE(writer_.begin_anew(std::move(kept)));
  }

  FileId current_file() const { return current_file_; }

  std::vector<Event> events;
  struct Taken {
    uint64_t event;
    Memory memory;
  };
  std::vector<Taken> snapshots;
  std::map<uint64_t, std::array<Memory, kSpaces>> beginnings;  // by the event that comes next
  std::array<Memory, kSpaces> memories;
  TaskNames names;

 private:
  void name(Tid tid, const std::string& name) {
    ASSERT_TRUE(writer_.name_task(tid, name));
    names.add({{events.size() - 1}, tid, name});
  }
  void append(Event event) {
    ASSERT_TRUE(writer_.append(event));
    events.push_back(std::move(event));
  }
  void add_file() {
    const auto id = writer_.add_file({{}, "/file", 1, events.size(), 0, 3000});
    ASSERT_TRUE(id);
    current_file_ = *id;
    ASSERT_TRUE(writer_.add_file_range(*id, 0, file_contents(id->value)));
  }
  PageDelta change(uint32_t space) {
    PageDelta delta;
    for (uint64_t page = 0; page < 24; ++page) {
      if (random_() % 4 != 0) continue;
      Content& content = memories[space][{0x1000 + page * kPageSize}];
      for (uint8_t& byte : content) byte = static_cast<uint8_t>(random_());
      delta.pages.push_back({{0x1000 + page * kPageSize}, Bytes(content.begin(), content.end())});
    }
    return delta;
  }

  TraceWriter& writer_;
  std::mt19937_64 random_{7};
  FileId current_file_;
};

void expect_memory(SnapshotSource& source, const std::vector<snapshot::PageChange>& pages,
                   const Memory& expected) {
  Memory found;
  const auto read = snapshot::read_pages(
      pages, [&source](uint32_t chunk) { return source.page_chunk(chunk); },
      [&found](GuestAddress page, std::span<const uint8_t, kPageSize> content) -> Result<void> {
        std::copy(content.begin(), content.end(), found[page].begin());
        return {};
      });
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(found, expected);
}

// That a reader of the file finds all of some end of the life.
void expect_end_of(const Life& life, TraceReader& reader) {
  const auto verified = reader.verify();
  ASSERT_TRUE(verified) << verified.error().message();
  ASSERT_EQ(reader.process_map() != nullptr, reader.is_complete());
  const auto dropped = reader.dropped();
  const uint64_t first = dropped ? dropped->events : 0;
  const uint64_t resumed = dropped ? kSpaces : 0;
  ASSERT_EQ(reader.event_count(), life.events.size() - first + resumed);
  for (uint64_t i = resumed; i < reader.event_count(); ++i) {
    const auto event = reader.event({i});
    ASSERT_TRUE(event) << event.error().message();
    ASSERT_EQ(**event, life.events[i - resumed + first]);
  }
  for (uint64_t i = 0; i < reader.event_count(); ++i) {
    const EventNumber event{std::max(i, resumed) - resumed + first};
    for (const Tid tid : {Tid{100}, Tid{200}}) {
      ASSERT_EQ(reader.task_name({i}, tid), life.names.at(event, tid)) << "event " << i;
    }
  }
  SnapshotSource& source = *reader.snapshots();
  if (dropped) {
    ASSERT_TRUE(life.beginnings.contains(first));
    for (uint32_t space = 0; space < kSpaces; ++space) {
      const auto event = reader.event({space});
      const auto& exec = std::get<ExecEvent>((*event)->body);
      ASSERT_NE(exec.resumed, nullptr);
      EXPECT_EQ(exec.resumed->others.size(), 1u);
      expect_memory(source, exec.resumed->pages, life.beginnings.at(first)[space]);
      EXPECT_EQ(reader.file_bytes(exec.mappings[0].backing->file, 0, 3000).value_or(Bytes()),
                file_contents(exec.mappings[0].backing->file.value));
    }
    const auto table = ProcessTable::of(reader);
    ASSERT_TRUE(table) << table.error().message();
    EXPECT_EQ(table->processes().size(), kSpaces);
  }
  uint32_t number = 0;
  for (const Life::Taken& taken : life.snapshots) {
    if (taken.event < first) continue;
    ASSERT_LT(number, source.marks().size());
    EXPECT_EQ(source.marks()[number].event.value, taken.event - first + resumed);
    const auto pages = source.pages({number});
    ASSERT_TRUE(pages) << pages.error().message();
    expect_memory(source, *pages, taken.memory);
    ++number;
  }
  EXPECT_EQ(number, source.marks().size());
}

uint64_t disk_bytes(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0);
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

TEST(Beginnings, KeepTheEndOfARecording) {
  const TemporaryFile file, copy;
  unlink(copy.path().c_str());
  WriterOptions options;
  options.keep.size_bytes = kKept;
  auto writer = TraceWriter::create(file.path(), {}, options);
  ASSERT_TRUE(writer) << writer.error().message();
  Life life(**writer);
  uint64_t most = 0;
  bool began_later = false;
  for (int i = 0; i < 400; ++i) {
    life.go_on();
    ASSERT_TRUE((*writer)->flush());
    most = std::max(most, disk_bytes(file.path()));
    if (i % 10 != 0) continue;
    // At any time, for whoever dies then.
    const auto reader = TraceReader::open(file.path());
    ASSERT_TRUE(reader) << reader.error().message();
    expect_end_of(life, **reader);
    began_later = began_later || (*reader)->dropped();
    if (i != 150) continue;
    ASSERT_TRUE((*writer)->save(copy.path()));
    EXPECT_FALSE((*writer)->save(copy.path()));  // is there
    const auto saved = TraceReader::open(copy.path());
    ASSERT_TRUE(saved) << saved.error().message();
    EXPECT_TRUE((*saved)->is_complete());
    EXPECT_TRUE((*saved)->dropped());
    EXPECT_EQ((*saved)->task_count()->processes, kSpaces);
    expect_end_of(life, **saved);
    EXPECT_LT(copy.read().size(), kKept + (1 << 18));
  }
  ASSERT_TRUE((*writer)->close());
  EXPECT_FALSE((*writer)->save(copy.path()));
  EXPECT_TRUE(began_later);
  EXPECT_LT(most, kKept + kKept / 2);
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_TRUE((*reader)->is_complete());
  EXPECT_GT((*reader)->dropped_bytes(), 2 * kKept);
  EXPECT_EQ((*reader)->task_count()->tasks, 2 * kSpaces);
  // Files that are not mapped any more went.
  EXPECT_TRUE((*reader)->file_info(life.current_file()));
  EXPECT_FALSE((*reader)->file_info({0}));
  expect_end_of(life, **reader);
}

// What is forked behind a beginning refers to pages of its section at most; and what the processes
// of one have in common is in it once.
TEST(Beginnings, AreAllThatForksBehindThemReferTo) {
  constexpr uint64_t kPages = 64;
  const TemporaryFile file;
  std::mt19937_64 random(3);
  PageDelta all;
  for (uint64_t page = 0; page < kPages; ++page) {
    Bytes content(kPageSize);
    for (uint8_t& byte : content) byte = static_cast<uint8_t>(random());
    all.pages.push_back({{0x1000 + page * kPageSize}, std::move(content)});
  }
  WriterOptions options;
  options.keep.size_bytes = kKept;
  auto created = TraceWriter::create(file.path(), {}, options);
  ASSERT_TRUE(created) << created.error().message();
  TraceWriter& writer = **created;
  uint64_t events = 0;
  const auto take = [&](uint32_t space) {
    ASSERT_TRUE(writer.append(call_of(space, events++)));
    Snapshot taken;
    taken.image = exec_of(space, std::nullopt);
    ASSERT_TRUE(writer.add_snapshot(taken, all));
  };
  const auto fork = [&](uint32_t space) {
    SpawnEvent spawn;
    spawn.parent = {100};
    spawn.pid = 100 + static_cast<int32_t>(space);
    spawn.kind = SpawnKind::kFork;
    ASSERT_TRUE(writer.append({events++, std::move(spawn), {spawn.pid}, space}));
  };
  ASSERT_TRUE(writer.append(exec_of(0, std::nullopt)));
  take(0);
  fork(1);
  take(1);
  std::vector<KeptProcess> kept;
  for (uint32_t space = 0; space < 2; ++space) {
    kept.emplace_back().event = exec_of(space, std::nullopt);
    kept.back().resumed.is_first = space == 0;
  }
  ASSERT_TRUE(writer.begin_anew(std::move(kept)));
  fork(2);
  take(2);
  ASSERT_TRUE(writer.close());
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader) << reader.error().message();
  SnapshotSource& source = *(*reader)->snapshots();
  const auto chunks_of = [&](uint32_t number) {
    std::set<uint32_t> chunks;
    const auto pages = source.pages({number});
    EXPECT_TRUE(pages) << pages.error().message();
    for (const snapshot::PageChange& page : *pages) chunks.insert(page.version.chunk);
    EXPECT_EQ(pages->size(), kPages);
    return chunks;
  };
  ASSERT_EQ(source.marks().size(), 3u);
  EXPECT_EQ(chunks_of(0), (std::set<uint32_t>{0, 1, 2, 3}));
  EXPECT_EQ(chunks_of(1), chunks_of(0));
  EXPECT_EQ(chunks_of(2), (std::set<uint32_t>{4, 5, 6, 7}));
  EXPECT_FALSE(source.page_chunk(8));
}

// Where nothing is dropped: pages are not stored again, and snapshots go on from there.
TEST(Beginnings, MayHaveAllHistoryInFrontOfThem) {
  const TemporaryFile file;
  const auto page = [](uint64_t number, uint8_t fill) {
    PageDelta delta;
    delta.pages.push_back({{number * kPageSize}, Bytes(kPageSize, fill)});
    return delta;
  };
  auto created = TraceWriter::create(file.path(), {});
  ASSERT_TRUE(created) << created.error().message();
  TraceWriter& writer = **created;
  Snapshot taken;
  taken.image = exec_of(0, std::nullopt);
  ASSERT_TRUE(writer.append(exec_of(0, std::nullopt)));
  ASSERT_TRUE(writer.add_snapshot(taken, page(1, 1)));
  ASSERT_TRUE(writer.append(call_of(0, 1)));
  std::vector<KeptProcess> processes(1);
  processes[0].event = exec_of(0, std::nullopt);
  processes[0].delta = page(2, 2);
  EXPECT_FALSE(writer.add_beginning({}));
  ASSERT_TRUE(writer.add_beginning(std::move(processes)));
  ASSERT_TRUE(writer.flush());
  EXPECT_GT(writer.beginning_work().bytes, 0u);
  EXPECT_EQ(writer.beginning_work().waiting, 0u);
  ASSERT_TRUE(writer.append(call_of(0, 2)));
  ASSERT_TRUE(writer.add_snapshot(taken, page(3, 3)));
  ASSERT_TRUE(writer.close());
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_FALSE((*reader)->dropped());
  EXPECT_EQ((*reader)->event_count(), 3u);
  SnapshotSource& source = *(*reader)->snapshots();
  ASSERT_EQ(source.beginnings(), std::vector<EventNumber>{{2}});
  const auto beginning = source.beginning(0);
  ASSERT_TRUE(beginning) << beginning.error().message();
  ASSERT_EQ((*beginning)->size(), 1u);
  const auto& there = std::get<ExecEvent>((*beginning)->front().body).resumed->pages;
  ASSERT_EQ(there.size(), 2u);
  EXPECT_FALSE(source.beginning(1));
  const auto later = source.pages({1});
  ASSERT_TRUE(later) << later.error().message();
  ASSERT_EQ(later->size(), 3u);
  // The same, where they are in both.
  EXPECT_EQ(std::vector(later->begin(), later->begin() + 2), there);
}

TEST(Beginnings, AreNotWantedWhereEverythingIsKept) {
  const TemporaryFile file;
  const auto writer = TraceWriter::create(file.path(), {});
  Life life(**writer);
  for (int i = 0; i < 50; ++i) {
    life.go_on();
    EXPECT_FALSE((*writer)->wants_beginning());
  }
  ASSERT_TRUE((*writer)->close());
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader);
  EXPECT_FALSE((*reader)->dropped());
  expect_end_of(life, **reader);
}

Beginning some_beginning() {
  Beginning beginning;
  beginning.snapshots = 3;
  Event event = exec_of(1, std::nullopt);
  auto resumed = std::make_shared<Resumed>();
  resumed->parent = 17;
  resumed->arguments = {"a", "bc"};
  resumed->others.push_back({{18}, false, {}, {4, 5}});
  resumed->program = {12};
  resumed->pages.push_back({{0x1000}, {snapshot::PageVersion::Kind::kWhole, 3, 9, 77}});
  std::get<ExecEvent>(event.body).resumed = std::move(resumed);
  beginning.processes.push_back(std::move(event));
  return beginning;
}

TEST(Beginnings, DecodeNothingThatIsCutOrChanged) {
  const Beginning beginning = some_beginning();
  const Bytes bytes = encode_beginning(beginning);
  const auto whole = decode_beginning(bytes, "test", 0);
  ASSERT_TRUE(whole) << whole.error().message();
  EXPECT_EQ(whole->snapshots, beginning.snapshots);
  const Resumed& expected = *std::get<ExecEvent>(beginning.processes[0].body).resumed;
  const Resumed& found = *std::get<ExecEvent>(whole->processes[0].body).resumed;
  EXPECT_EQ(found.parent, expected.parent);
  EXPECT_EQ(found.arguments, expected.arguments);
  EXPECT_EQ(found.others, expected.others);
  EXPECT_EQ(found.program, expected.program);
  EXPECT_EQ(found.pages, expected.pages);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_beginning(ByteView(bytes).first(size), "test", 0)) << size;
  }
  std::mt19937_64 random(3);
  for (size_t at = 0; at < bytes.size(); ++at) {
    Bytes changed = bytes;
    changed[at] ^= static_cast<uint8_t>(1u << random() % 8);
    (void)decode_beginning(changed, "test", 0);
  }
}

std::string refusal(const FileBuilder& built) {
  const TemporaryFile file;
  file.write(built.bytes());
  const auto reader = TraceReader::open(file.path());
  return reader ? std::string() : reader.error().message();
}

TEST(Beginnings, AreWhereSomethingWasDropped) {
  const Bytes beginning = encode_beginning(some_beginning());
  const Event call = call_of(1, 3);
  FileBuilder good;
  good.chunk(ChunkType::kDropped, {}).info().chunk(ChunkType::kBeginning, beginning, 40, 1);
  good.events({call}, 40);
  EXPECT_EQ(refusal(good), "");
  FileBuilder none;
  none.chunk(ChunkType::kDropped, {}).info();
  EXPECT_NE(refusal(none).find("ends before its first event"), std::string::npos);
  FileBuilder late;
  late.chunk(ChunkType::kDropped, {}).info().events({call}, 40);
  EXPECT_NE(refusal(late).find("events in front of a beginning"), std::string::npos);
  FileBuilder gap;
  gap.chunk(ChunkType::kDropped, {}).info().chunk(ChunkType::kBeginning, beginning, 40, 1);
  gap.events({call}, 41);
  EXPECT_NE(refusal(gap).find("where number 40 comes next"), std::string::npos);
  FileBuilder other;
  other.info().events({call}, 0).chunk(ChunkType::kBeginning, beginning, 40, 1);
  EXPECT_NE(refusal(other).find("a beginning at event 40 where 1 comes next"), std::string::npos);
  FileBuilder middle;
  middle.info().chunk(ChunkType::kDropped, {}).events({call}, 0);
  EXPECT_NE(refusal(middle).find("not in front"), std::string::npos);
}

}  // namespace
}  // namespace rchk::trace
