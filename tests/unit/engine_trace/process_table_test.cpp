#include "engine/trace/process_table.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/trace/event_log.h"
#include "engine/trace/process_view.h"
#include "engine/trace/reader.h"
#include "engine/trace/writer.h"
#include "temporary_file.h"

namespace rchk::trace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Event event(int32_t tid, uint32_t space, EventBody body) {
  Event result;
  result.tid = {tid};
  result.space = space;
  result.body = std::move(body);
  return result;
}
Event exec(int32_t tid, uint32_t space, std::string program) {
  ExecEvent body;
  body.executable = std::move(program);
  body.pid = tid;
  return event(tid, space, body);
}
Event call(int32_t tid, uint32_t space) { return event(tid, space, SyscallEvent{}); }
Event spawn(int32_t tid, uint32_t space, SpawnKind kind, int32_t parent, uint32_t parent_space,
            int32_t pid) {
  SpawnEvent body;
  body.parent = {parent};
  body.parent_space = parent_space;
  body.pid = pid;
  body.kind = kind;
  return event(tid, space, body);
}
Event exit(int32_t tid, uint32_t space, int32_t status) {
  ExitEvent body;
  body.status = status;
  return event(tid, space, body);
}
Event task_end(int32_t tid, uint32_t space, int32_t status) {
  TaskEndEvent body;
  body.status = status;
  return event(tid, space, body);
}

// A shell (10) with a thread (11); a forked child (20) that forks (21) and executes a program
// later; a child of vfork (30) that executes one; a child of vfork (40) that only ends.
const std::vector<Event>& family() {
  static const std::vector<Event> events{
      exec(10, 0, "/bin/sh"),                       // 0
      call(10, 0),                                  // 1
      spawn(11, 0, SpawnKind::kThread, 10, 0, 10),  // 2
      call(11, 0),                                  // 3
      call(10, 0),                                  // 4
      spawn(20, 1, SpawnKind::kFork, 10, 0, 20),    // 5
      call(20, 1),                                  // 6
      spawn(21, 2, SpawnKind::kFork, 20, 1, 21),    // 7
      call(10, 0),                                  // 8
      spawn(30, 0, SpawnKind::kVfork, 10, 0, 30),   // 9
      call(30, 0),                                  // 10
      exec(30, 3, "/usr/bin/make"),                 // 11
      call(21, 2),                                  // 12
      exec(20, 4, "/bin/ls"),                       // 13
      call(30, 3),                                  // 14
      spawn(40, 0, SpawnKind::kVfork, 11, 0, 40),   // 15
      task_end(40, 0, 7 << 8),                      // 16
      exit(21, 2, 5),                               // 17
      exit(20, 4, 0),                               // 18
      task_end(11, 0, 0),                           // 19
      exit(10, 0, 1),                               // 20
      exit(30, 3, 2),                               // 21
  };
  return events;
}

std::unique_ptr<EventLog> log_of(const std::vector<Event>& events) {
  auto log = std::make_unique<EventLog>(RecordingInfo{});
  for (const Event& item : events) EXPECT_TRUE(log->append(item));
  return log;
}

std::vector<uint64_t> numbers(EventSource& view) {
  std::vector<uint64_t> result;
  for (uint64_t i = 0; i < view.event_count(); ++i) {
    EXPECT_TRUE(view.event({i}));
    result.push_back(view.global_number({i}).value);
  }
  return result;
}

std::vector<uint64_t> view_of(int32_t pid, ProcessView::Start start) {
  const auto log = log_of(family());
  const auto table = ProcessTable::of(*log);
  const auto view = ProcessView::create(*log, *table, *table->find(pid), start);
  EXPECT_TRUE(view) << view.error().message();
  return numbers(**view);
}

TEST(ProcessTable, KnowsWhoMadeWhomAndHowEachEnded) {
  const auto log = log_of(family());
  const auto table = ProcessTable::of(*log);
  ASSERT_TRUE(table) << table.error().message();
  const std::vector<Process>& all = table->processes();
  ASSERT_EQ(all.size(), 5u);
  std::vector<int32_t> pids, statuses;
  std::vector<uint64_t> tasks;
  for (const Process& process : all) {
    pids.push_back(process.pid);
    tasks.push_back(process.tasks);
    ASSERT_TRUE(process.end);
    statuses.push_back(process.end->status);
  }
  EXPECT_THAT(pids, ElementsAre(10, 20, 21, 30, 40));
  EXPECT_THAT(statuses, ElementsAre(1, 0, 5, 2, 7));
  EXPECT_THAT(tasks, ElementsAre(2, 1, 1, 1, 1));
  EXPECT_EQ(all[2].parent, ProcessIndex{1});
  EXPECT_EQ(all[3].origin, ProcessOrigin::kVfork);
  EXPECT_EQ(all[0].events, 8u);
  EXPECT_EQ(all[3].events, 5u);
  EXPECT_EQ(table->find("ls"), ProcessIndex{1});
  EXPECT_EQ(table->find("/usr/bin/make"), ProcessIndex{3});
  EXPECT_FALSE(table->find("cat"));
}

TEST(ProcessTable, ReadsTheArgumentsOffTheStack) {
  ExecEvent body;
  body.registers.rsp = 0x7000;
  const uint64_t words[] = {2, 0x7020, 0x7023, 0};
  Bytes stack(sizeof(words));
  std::memcpy(stack.data(), words, sizeof(words));
  const char texts[] = "ls\0-l";
  stack.insert(stack.end(), texts, texts + sizeof(texts));
  body.contents = {{{0x7000}, stack}};
  ProcessTable table;
  ASSERT_TRUE(table.add(event(10, 0, body)));
  EXPECT_THAT(table.processes()[0].programs[0].arguments, ElementsAre("ls", "-l"));
}

TEST(ProcessTable, RefusesWhatCannotBe) {
  const auto reason = [](std::vector<Event> events) {
    const auto log = log_of(events);
    const auto table = ProcessTable::of(*log);
    return table ? "none" : table.error().message();
  };
  const Event first = exec(10, 0, "a");
  EXPECT_THAT(reason({call(10, 0)}), HasSubstr("event 0 cannot be: memory 0 did not begin"));
  EXPECT_THAT(reason({first, call(11, 0)}), HasSubstr("task 11 does not exist"));
  EXPECT_THAT(reason({first, call(10, 1)}), HasSubstr("memory 1 did not begin"));
  EXPECT_THAT(reason({first, spawn(11, 0, SpawnKind::kThread, 12, 0, 10)}),
              HasSubstr("task 12 does not exist"));
  EXPECT_THAT(reason({first, spawn(11, 0, SpawnKind::kFork, 10, 0, 11)}),
              HasSubstr("begins in memory 0"));
  EXPECT_THAT(reason({first, spawn(11, 1, SpawnKind::kThread, 10, 0, 10)}),
              HasSubstr("begins in memory 1"));
  EXPECT_THAT(reason({first, exec(12, 1, "b")}), HasSubstr("process 12 does not exist"));
  EXPECT_THAT(reason({first, spawn(11, 1, SpawnKind::kFork, 10, 0, 11), exec(11, 0, "b")}),
              HasSubstr("memory 0 is another process's"));
  EXPECT_THAT(reason({first, spawn(11, 1, SpawnKind::kFork, 10, 0, 11), call(11, 0)}),
              HasSubstr("task 11 is not in memory 0"));
}

TEST(ProcessView, OfTheFirstProcessLeavesOthersOut) {
  EXPECT_THAT(view_of(10, ProcessView::Start::kProgram),
              ElementsAre(0, 1, 2, 3, 4, 8, 9, 10, 11, 15, 16, 19, 20));
}

TEST(ProcessView, OfAProgramBeginsThere) {
  EXPECT_THAT(view_of(20, ProcessView::Start::kProgram), ElementsAre(13, 18));
  EXPECT_THAT(view_of(30, ProcessView::Start::kProgram), ElementsAre(11, 14, 21));
  EXPECT_THAT(view_of(30, ProcessView::Start::kFork), ElementsAre(11, 14, 21));
}

TEST(ProcessView, OfAForkedProcessGoesThroughItsAncestors) {
  EXPECT_THAT(view_of(20, ProcessView::Start::kFork), ElementsAre(0, 1, 2, 3, 4, 5, 6, 13, 18));
  EXPECT_THAT(view_of(21, ProcessView::Start::kProgram),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 12, 17));
}

TEST(ProcessView, OfAChildOfVforkGoesThroughItsParentsMemory) {
  const auto log = log_of(family());
  const auto table = ProcessTable::of(*log);
  const auto view =
      ProcessView::create(*log, *table, *table->find(30), ProcessView::Start::kBorrowed);
  ASSERT_TRUE(view);
  EXPECT_THAT(numbers(**view), ElementsAre(0, 1, 2, 3, 4, 8, 9, 10, 11, 14, 21));
  EXPECT_EQ((*view)->beginning(), EventNumber{6});
  EXPECT_EQ((*view)->departure(), EventNumber{8});
  // One that executes no program.
  EXPECT_THAT(view_of(40, ProcessView::Start::kBorrowed),
              ElementsAre(0, 1, 2, 3, 4, 8, 9, 10, 11, 15, 16));
  // Others begin as with kFork.
  EXPECT_THAT(view_of(20, ProcessView::Start::kBorrowed), ElementsAre(0, 1, 2, 3, 4, 5, 6, 13, 18));
}

TEST(ProcessView, OfAChildOfVforkGrowsWithTheRecording) {
  EventLog log{RecordingInfo{}};
  for (size_t i = 0; i <= 9; ++i) ASSERT_TRUE(log.append(family()[i]));
  const auto table = ProcessTable::of(log);
  const auto view =
      ProcessView::create(log, *table, *table->find(30), ProcessView::Start::kBorrowed);
  ASSERT_TRUE(view);
  EXPECT_EQ((*view)->event_count(), 7u);
  EXPECT_FALSE((*view)->departure());
  for (size_t i = 10; i < family().size(); ++i) ASSERT_TRUE(log.append(family()[i]));
  EXPECT_EQ((*view)->event_count(), 11u);
  EXPECT_EQ((*view)->departure(), EventNumber{8});
}

TEST(ProcessTable, KnowsWhichCallMadeAProcess) {
  std::vector<Event> events(family().begin(), family().begin() + 15);
  events.push_back(call(10, 0));  // 15: the vfork returns
  const auto log = log_of(events);
  const auto table = ProcessTable::of(*log);
  ASSERT_TRUE(table) << table.error().message();
  const std::vector<Process>& all = table->processes();
  EXPECT_EQ(all[1].made_by, Tid{10});
  EXPECT_EQ(all[1].made_behind, EventNumber{4});
  EXPECT_EQ(all[2].made_by, Tid{20});
  EXPECT_EQ(all[2].made_behind, EventNumber{6});
  EXPECT_EQ(all[3].made_behind, EventNumber{8});
  EXPECT_EQ(all[3].maker_returned, EventNumber{15});
  EXPECT_FALSE(all[0].made_behind);
}

TEST(ProcessView, SaysWhereTheProcessItselfBegins) {
  const auto log = log_of(family());
  const auto table = ProcessTable::of(*log);
  const auto view = ProcessView::create(*log, *table, *table->find(21), ProcessView::Start::kFork);
  ASSERT_TRUE(view);
  EXPECT_EQ((*view)->beginning(), EventNumber{7});
}

TEST(ProcessView, IsRefusedForAProcessWithoutEventsOfItsOwn) {
  const auto log = log_of(family());
  const auto table = ProcessTable::of(*log);
  const auto view =
      ProcessView::create(*log, *table, *table->find(40), ProcessView::Start::kProgram);
  ASSERT_FALSE(view);
  EXPECT_EQ(view.error().kind, ErrorKind::kMisuse);
}

TEST(ProcessView, GrowsWithTheRecording) {
  EventLog log{RecordingInfo{}};
  const auto view = ProcessView::of_first(log);
  EXPECT_EQ(view->event_count(), 0u);
  uint64_t expected = 0;
  for (const Event& item : family()) {
    const auto number = log.append(item);
    ASSERT_TRUE(number);
    if (item.space == 0 || number->value == 11) ++expected;
    EXPECT_EQ(view->event_count(), expected);
  }
}

TEST(ProcessView, FailsWhereTheRecordingCannotBe) {
  const auto log = log_of({exec(10, 0, "a"), call(10, 0), spawn(11, 1, SpawnKind::kFork, 10, 0, 11),
                           call(12, 0), call(10, 0)});
  const auto view = ProcessView::of_first(*log);
  EXPECT_EQ(view->event_count(), 3u);
  EXPECT_TRUE(view->event({1}));
  EXPECT_EQ(view->event({2}).error().kind, ErrorKind::kBadTrace);
}

TEST(TaskCount, IsInAClosedFileAndUnknownInATornOne) {
  for (const bool closed : {true, false}) {
    const TemporaryFile file;
    {
      const auto writer = TraceWriter::create(file.path(), RecordingInfo{});
      ASSERT_TRUE(writer);
      for (const Event& item : family()) ASSERT_TRUE((*writer)->append(item));
      ASSERT_TRUE(closed ? (*writer)->close() : (*writer)->flush());
    }
    const auto reader = TraceReader::open(file.path());
    ASSERT_TRUE(reader) << reader.error().message();
    const auto count = (*reader)->task_count();
    EXPECT_EQ(count, closed ? std::optional(TaskCount{5, 6}) : std::nullopt);
  }
  EXPECT_EQ(log_of(family())->task_count(), (TaskCount{5, 6}));
}

}  // namespace
}  // namespace rchk::trace
