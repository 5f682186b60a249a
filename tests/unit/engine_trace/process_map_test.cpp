#include "engine/trace/process_map.h"

#include <atomic>
#include <map>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/trace/event_log.h"
#include "engine/trace/process_view.h"
#include "engine/trace/reader.h"
#include "engine/trace/writer.h"
#include "file_builder.h"
#include "temporary_file.h"

namespace rchk::trace {
namespace {

using testing::HasSubstr;

Event event_of(int32_t tid, uint32_t space, EventBody body) {
  Event event;
  event.tid = {tid};
  event.space = space;
  event.body = std::move(body);
  return event;
}

// Processes that fork, vfork, execute programs, have threads and end at random.
class Life {
 public:
  explicit Life(uint64_t seed) : random_(seed) {
    ExecEvent exec;
    exec.executable = "/bin/first";
    exec.pid = next_pid_;
    add(event_of(next_pid_, 0, exec));
    tasks_[next_pid_] = {next_pid_, 0, false};
    ++next_pid_;
  }

  void go_on() {
    const int32_t tid = any_task();
    const Task task = tasks_.at(tid);
    const uint64_t what = random_() % 40;
    if (what == 0) return spawn(tid, SpawnKind::kFork);
    if (what == 1) return spawn(tid, SpawnKind::kVfork);
    if (what == 2) return spawn(tid, SpawnKind::kThread);
    if (what == 3) return execute(tid);
    if (what == 4 && tasks_.size() > 3) return end(tid);
    add(event_of(tid, task.space, SyscallEvent{}));
  }

  std::vector<Event> events;

 private:
  struct Task {
    int32_t pid = 0;
    uint32_t space = 0;
    bool borrows = false;
  };

  void add(Event event) { events.push_back(std::move(event)); }
  int32_t any_task() {
    // Runs of one task are longer than those of a die.
    if (random_() % 3 != 0 && tasks_.count(latest_) != 0) return latest_;
    return latest_ = std::next(tasks_.begin(), static_cast<long>(random_() % tasks_.size()))->first;
  }
  bool is_alone(int32_t tid) const {
    const Task& task = tasks_.at(tid);
    return std::none_of(tasks_.begin(), tasks_.end(), [&](const auto& item) {
      return item.first != tid && item.second.space == task.space;
    });
  }

  void spawn(int32_t tid, SpawnKind kind) {
    const Task maker = tasks_.at(tid);
    if (tasks_.size() > 12) return;
    SpawnEvent body;
    body.parent = {tid};
    body.parent_space = maker.space;
    body.pid = kind == SpawnKind::kThread ? maker.pid : next_pid_;
    body.kind = kind;
    const uint32_t space = kind == SpawnKind::kFork ? next_space_++ : maker.space;
    add(event_of(next_pid_, space, body));
    const bool borrows = kind == SpawnKind::kVfork || (kind == SpawnKind::kThread && maker.borrows);
    tasks_[next_pid_++] = {body.pid, space, borrows};
  }

  // By the process's only task, as far as that is not in others' memory.
  void execute(int32_t tid) {
    Task& task = tasks_.at(tid);
    if (task.pid != tid) return;
    if (!task.borrows && !is_alone(tid)) return;
    ExecEvent exec;
    exec.executable = "/bin/" + std::to_string(events.size());
    exec.pid = task.pid;
    std::erase_if(tasks_,
                  [&](const auto& item) { return item.second.pid == tid && item.first != tid; });
    tasks_[tid] = {tid, next_space_++, false};
    add(event_of(tid, tasks_[tid].space, exec));
  }

  void end(int32_t tid) {
    const Task task = tasks_.at(tid);
    if (is_alone(tid)) {
      add(event_of(tid, task.space, ExitEvent{}));
    } else {
      TaskEndEvent body;
      body.status = 3 << 8;
      add(event_of(tid, task.space, body));
    }
    tasks_.erase(tid);
  }

  std::mt19937_64 random_;
  std::map<int32_t, Task> tasks_;
  int32_t next_pid_ = 10, latest_ = 10;
  uint32_t next_space_ = 1;
};

// A file of the events, in batches of random lengths.
void write(const std::string& path, const std::vector<Event>& events, bool closed, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto writer = TraceWriter::create(path, {});
  ASSERT_TRUE(writer) << writer.error().message();
  for (const Event& event : events) {
    ASSERT_TRUE((*writer)->append(event));
    if (random() % 20 == 0) {
      ASSERT_TRUE((*writer)->flush());
    }
  }
  ASSERT_TRUE(closed ? (*writer)->close() : (*writer)->flush());
}

// That a view is what another one is.
void expect_same(ProcessView& view, ProcessView& expected, uint64_t recording_events) {
  // Asked for in another order than events come.
  const uint64_t count = view.event_count();
  ASSERT_EQ(count, expected.event_count());
  EXPECT_EQ(view.beginning().value_or(EventNumber{UINT64_MAX}),
            expected.beginning().value_or(EventNumber{UINT64_MAX}));
  EXPECT_EQ(view.departure(), expected.departure());
  for (uint64_t i = count; i-- > 0;) {
    ASSERT_EQ(view.global_number({i}), expected.global_number({i})) << i;
    const auto event = view.event({i});
    ASSERT_TRUE(event) << event.error().message();
    ASSERT_EQ(**event, **expected.event({i}));
  }
  for (uint64_t i = 0; i <= recording_events; ++i) {
    ASSERT_EQ(view.local_number({i}), expected.local_number({i})) << i;
    ASSERT_EQ(view.events_before({i}), expected.events_before({i})) << i;
  }
  EXPECT_FALSE(view.event({count}));
}

constexpr ProcessView::Start kStarts[] = {ProcessView::Start::kProgram, ProcessView::Start::kFork,
                                          ProcessView::Start::kBorrowed};

TEST(ProcessMap, IsWhatTheEventsSay) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    Life life(seed);
    while (life.events.size() < 400) life.go_on();
    EventLog log{RecordingInfo{}};
    for (const Event& event : life.events) ASSERT_TRUE(log.append(event));
    const auto expected = ProcessTable::of(log);
    ASSERT_TRUE(expected) << expected.error().message();
    const TemporaryFile file;
    const bool closed = seed % 5 != 4;
    write(file.path(), life.events, closed, seed);
    const auto reader = TraceReader::open(file.path());
    ASSERT_TRUE(reader) << reader.error().message();
    EXPECT_EQ((*reader)->process_map() != nullptr, closed);
    const auto verified = (*reader)->verify();
    EXPECT_TRUE(verified) << verified.error().message();
    const auto table = ProcessTable::of(**reader);
    ASSERT_TRUE(table) << table.error().message();
    ASSERT_EQ(table->processes(), expected->processes());
    EXPECT_EQ(table->find(10), expected->find(10));
    expect_same(*ProcessView::of_first(**reader), *ProcessView::of_first(log), life.events.size());
    for (size_t i = 0; i < table->processes().size(); ++i) {
      for (const ProcessView::Start start : kStarts) {
        SCOPED_TRACE(fmt::format("process {}, start {}", i, static_cast<int>(start)));
        const auto view = ProcessView::create(**reader, *table, {i}, start);
        const auto other = ProcessView::create(log, *expected, {i}, start);
        ASSERT_EQ(view.has_value(), other.has_value());
        if (view) expect_same(**view, **other, life.events.size());
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

// Two processes that take turns, so many times.
std::vector<Event> turns(uint64_t count) {
  ExecEvent exec;
  exec.pid = 10;
  SpawnEvent spawn;
  spawn.parent = {10};
  spawn.pid = 11;
  spawn.kind = SpawnKind::kFork;
  std::vector<Event> events{event_of(10, 0, exec), event_of(11, 1, spawn)};
  for (uint64_t i = 0; i < count; ++i) {
    events.push_back(event_of(10, 0, SyscallEvent{}));
    events.push_back(event_of(11, 1, SyscallEvent{}));
  }
  return events;
}

// However long a recording is: opening it and finding its end reads what is there alone.
TEST(ProcessMap, NeedsNoEventsToBeRead) {
  for (const bool closed : {true, false}) {
    const TemporaryFile file;
    write(file.path(), turns(4000), closed, 1);
    const auto reader = TraceReader::open(file.path());
    ASSERT_TRUE(reader) << reader.error().message();
    const auto table = ProcessTable::of(**reader);
    ASSERT_TRUE(table);
    EXPECT_EQ(table->processes().size(), 2u);
    const auto view = ProcessView::create(**reader, *table, {1}, ProcessView::Start::kFork);
    ASSERT_TRUE(view);
    EXPECT_EQ((*view)->event_count(), 4002u);
    EXPECT_EQ((*view)->beginning(), EventNumber{1});
    if (!closed) {
      EXPECT_GT((*reader)->batches_loaded(), 100u);
      continue;
    }
    // That the process began behind the first event is seen in the first batch.
    EXPECT_LE((*reader)->batches_loaded(), 1u);
    ASSERT_GT((*reader)->process_map()->batches().size(), 100u);
    for (const BatchRange& batch : (*reader)->process_map()->batches()) {
      const EventNumber last{batch.first.value + batch.count - 1};
      EXPECT_EQ((*view)->local_number(last).has_value(), last.value % 2 == 1) << last.value;
    }
    EXPECT_LE((*reader)->batches_loaded(), 1u);
    EXPECT_TRUE((*view)->event({4001}));
    EXPECT_TRUE((*view)->event({2000}));
    EXPECT_TRUE((*view)->event({2001}));
    EXPECT_LE((*reader)->batches_loaded(), 5u);
  }
}

Bytes payload_of(const std::vector<Event>& events, size_t batches) {
  ProcessTable table;
  std::vector<std::vector<SpaceShare>> shares;
  ShareCounter counter;
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_TRUE(table.add(events[i]));
    counter.add(events[i].space);
    if ((i + 1) * batches % events.size() == 0) shares.push_back(counter.take());
  }
  return encode_processes(table, shares);
}

// A recording of `events` in two batches that says this of its processes.
std::unique_ptr<TraceReader> open_with(const TemporaryFile& file, const std::vector<Event>& events,
                                       const Bytes& payload, std::string* refusal = nullptr) {
  const auto half = static_cast<std::ptrdiff_t>(events.size() / 2);
  FileBuilder builder;
  builder.info();
  builder.events({events.begin(), events.begin() + half}, 0);
  builder.events({events.begin() + half, events.end()}, static_cast<uint64_t>(half));
  builder.chunk(ChunkType::kProcesses, payload).end();
  file.write(builder.bytes());
  auto reader = TraceReader::open(file.path());
  if (refusal != nullptr && !reader) *refusal = reader.error().message();
  return reader ? std::move(*reader) : nullptr;
}

TEST(ProcessMap, OfAnotherRecordingIsFound) {
  const std::vector<Event> events = turns(9);
  std::vector<Event> others = events;
  // The same numbers of events, but for the last two of the first batch, which changed places.
  std::swap(others[8], others[9]);
  const TemporaryFile file;
  ASSERT_TRUE(open_with(file, events, payload_of(events, 2))->verify());
  const auto reader = open_with(file, events, payload_of(others, 2));
  ASSERT_TRUE(reader);
  const auto verified = reader->verify();
  ASSERT_FALSE(verified);
  EXPECT_THAT(verified.error().message(), HasSubstr("is not what the events say"));

  std::string refusal;
  EXPECT_FALSE(open_with(file, events, payload_of(events, 4), &refusal));
  EXPECT_THAT(refusal, HasSubstr("4 batches of events, of which the recording has 2"));
  EXPECT_FALSE(open_with(file, events, payload_of(turns(10), 2), &refusal));
  EXPECT_THAT(refusal, HasSubstr("that a batch cannot have"));
}

TEST(ProcessMap, ThatLiesLeadsToNoOtherProcessesEvents) {
  // As if the second process had made the calls of the first, and the other way round.
  const std::vector<Event> events = turns(9);
  std::vector<Event> others = events;
  for (size_t i = 2; i < others.size(); i += 2) std::swap(others[i], others[i + 1]);
  const TemporaryFile file;
  const auto reader = open_with(file, events, payload_of(others, 2));
  ASSERT_TRUE(reader);
  const auto view =
      ProcessView::create(*reader, reader->process_map()->table(), {1}, ProcessView::Start::kFork);
  ASSERT_TRUE(view) << view.error().message();
  uint64_t refused = 0;
  for (uint64_t i = 0; i < (*view)->event_count(); ++i) {
    const auto event = (*view)->event({i});
    if (event) {
      const bool own = (*event)->space == 1 || i == 0;
      EXPECT_TRUE(own) << i;
    } else {
      EXPECT_EQ(event.error().kind, ErrorKind::kBadTrace);
      ++refused;
    }
  }
  EXPECT_GT(refused, 0u);
}

TEST(ProcessMap, DecodesNothingThatIsCutOrChangedInWhatItRefersTo) {
  Life life(3);
  while (life.events.size() < 60) life.go_on();
  const Bytes bytes = payload_of(life.events, 1);
  const LogShape shape{{}, {static_cast<uint32_t>(life.events.size())}};
  const auto whole = decode_processes(bytes, shape, "test", 0);
  ASSERT_TRUE(whole) << whole.error().message();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_processes(ByteView(bytes).first(size), shape, "test", 0)) << size;
  }
  EventLog log{RecordingInfo{}};
  for (const Event& event : life.events) ASSERT_TRUE(log.append(event));
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes changed = bytes;
      changed[at] ^= static_cast<uint8_t>(1u << bit);
      const auto map = decode_processes(changed, shape, "test", 0);
      if (!map) continue;
      // What was taken for possible can be used.
      for (size_t i = 0; i < map->table().processes().size(); ++i) {
        (void)ProcessView::create(log, map->table(), {i}, ProcessView::Start::kBorrowed);
        const Process& process = map->table().process({i});
        const auto numbers = numbers_of_map(
            log, *map, {{{{i}, process.begin, {UINT64_MAX}}}, process.begin, std::nullopt});
        for (uint64_t n = 0; n < std::min<uint64_t>(numbers->count(), 5); ++n) {
          (void)numbers->at(n);
        }
        (void)numbers->find({30});
        (void)numbers->before({30});
        (void)numbers->beginning();
      }
    }
  }
}

TEST(ProcessMap, IsThereOnce) {
  const std::vector<Event> events = turns(2);
  const Bytes payload = payload_of(events, 1);
  const TemporaryFile file;
  FileBuilder twice;
  twice.info().events(events, 0).chunk(ChunkType::kProcesses, payload);
  twice.chunk(ChunkType::kProcesses, payload);
  file.write(twice.bytes());
  const auto reader = TraceReader::open(file.path());
  ASSERT_FALSE(reader);
  EXPECT_THAT(reader.error().message(), HasSubstr("a second list of processes"));
  FileBuilder early;
  early.info().events(events, 0).chunk(ChunkType::kProcesses, payload).events(events, 6);
  file.write(early.bytes());
  EXPECT_FALSE(TraceReader::open(file.path()));
}

// Another thread has copies made while the program runs on.
TEST(ProcessMap, OfACopyIsThatOfTheCopy) {
  const TemporaryFile file;
  const auto writer = TraceWriter::create(file.path(), {});
  ASSERT_TRUE(writer) << writer.error().message();
  const std::vector<Event> events = turns(20000);
  ASSERT_TRUE((*writer)->append(events[0]));
  std::atomic<bool> is_done = false;
  std::thread saver([&] {
    for (int i = 0; i < 20 && !is_done; ++i) {
      const TemporaryFile copy;
      unlink(copy.path().c_str());
      const auto saved = (*writer)->save(copy.path());
      EXPECT_TRUE(saved) << saved.error().message();
      const auto reader = TraceReader::open(copy.path());
      ASSERT_TRUE(reader) << reader.error().message();
      EXPECT_NE((*reader)->process_map(), nullptr);
      const auto verified = (*reader)->verify();
      EXPECT_TRUE(verified) << verified.error().message();
    }
  });
  for (size_t i = 1; i < events.size(); ++i) {
    ASSERT_TRUE((*writer)->append(events[i]));
  }
  is_done = true;
  saver.join();
  ASSERT_TRUE((*writer)->close());
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_TRUE((*reader)->verify());
}

// As before there was such a list.
TEST(ProcessMap, OfARecordingWhoseEventsCannotBeIsNotThere) {
  const TemporaryFile file;
  write(file.path(), {event_of(10, 0, SyscallEvent{})}, true, 1);
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_EQ((*reader)->process_map(), nullptr);
  EXPECT_FALSE(ProcessTable::of(**reader));
}

}  // namespace
}  // namespace rchk::trace
