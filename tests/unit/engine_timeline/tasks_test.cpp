// History of two tasks that take turns. The log is made by hand: of the recording of one task,
// with a second one that does the same at other addresses.

#include <algorithm>
#include <random>

#include <gmock/gmock.h>

#include "tests/unit/engine_timeline/tiny_guest.h"

namespace rchk::timeline::test {
namespace {

constexpr Tid kSecond{1'000'001};
constexpr uint64_t kApart = 0x2000;  // what lies between the data of the two

// The registers that the second task has where the first one has `registers`.
Registers of_second(Registers registers) {
  registers.r12 += kApart;
  for (uint64_t* pointer : {&registers.rsi, &registers.rdi}) {
    if (*pointer >= kData.value) *pointer += kApart;
  }
  return registers;
}

class TwoTasks : public testing::Test {
 protected:
  void SetUp() override {
    LiveGuest one(TinyGuest::kRounds);
    while (value_of(one.recorder().run({})).cause != record::StopCause::kExited) continue;
    trace::EventLog& alone = one.log();
    log_ = std::make_unique<trace::EventLog>(alone.info());
    for (const trace::FileInfo& file : alone.files()) {
      const trace::FileId id = value_of(log_->add_file(file));
      // Code behind the headers is all that is mapped.
      const Bytes code = value_of(alone.file_bytes(id, kPageSize, file.size_bytes - kPageSize));
      EXPECT_TRUE(log_->add_file_range(id, kPageSize, code));
    }
    for (uint64_t number = 0; number < alone.event_count(); ++number) {
      trace::Event event = *value_of(alone.event({number}));
      if (number == 0) first_ = event.tid;
      if (auto* exit = std::get_if<trace::ExitEvent>(&event.body)) {
        end_second(event);
        exit->memory.clear();
      }
      append(event);
      if (number == 1) spawn_second(event);
      if (number > 1 && std::holds_alternative<trace::SyscallEvent>(event.body)) {
        turn_of_second(event);
      }
    }
    timeline_ = value_of(Timeline::open(*log_, std::nullopt, {}));
  }

  // Behind the first task's first call, as its clone might be.
  void spawn_second(const trace::Event& call) {
    const Registers& after = std::get<trace::SyscallEvent>(call.body).after;
    trace::SpawnEvent spawn;
    spawn.parent = first_;
    spawn.pid = first_.value;
    spawn.registers = of_second(after);
    // The sum so far, whose flags are part of the state.
    spawn.writes.push_back({kData + kApart + 8, {kRounds, 0, 0, 0, 0, 0, 0, 0}});
    append_second(spawn);
  }
  void turn_of_second(const trace::Event& event) {
    trace::SyscallEvent call = std::get<trace::SyscallEvent>(event.body);
    call.before = of_second(call.before);
    call.after = of_second(call.after);
    append_second(call);
  }
  void end_second(const trace::Event& event) {
    trace::TaskEndEvent end;
    end.registers = of_second(std::get<trace::ExitEvent>(event.body).registers);
    append_second(end);
  }
  void append_second(trace::EventBody body) { append({0, std::move(body), kSecond, 0}); }
  void append(const trace::Event& event) { EXPECT_TRUE(log_->append(event)); }

  struct AllTasks {
    State state;
    std::vector<Tid> tasks;  // the one that runs first
    std::vector<Registers> registers;
  };
  AllTasks here() {
    AllTasks found{state_of(*timeline_), timeline_->tasks(), {}};
    for (const Tid task : found.tasks) {
      found.registers.push_back(value_of(timeline_->registers(task)));
      EXPECT_FALSE(value_of(timeline_->extended_state(task)).empty());
    }
    return found;
  }
  void expect_same(const AllTasks& expected, const AllTasks& found) {
    ASSERT_EQ("", difference(expected.state, found.state));
    ASSERT_EQ(expected.tasks, found.tasks) << fmt::format("{}", expected.state.position);
    for (size_t i = 0; i < expected.registers.size(); ++i) {
      ASSERT_EQ("", describe_difference(expected.registers[i], found.registers[i]));
    }
  }
  std::vector<AllTasks> all_states() {
    std::vector<AllTasks> states{here()};
    while (forward(*timeline_, RunKind::kStep).kind == StopKind::kStepped) {
      states.push_back(here());
    }
    return states;
  }
  TimelineStop step(bool back, Tid task) {
    RunCommand one = command(RunKind::kStep);
    one.task = task;
    return value_of(back ? timeline_->backward(one) : timeline_->forward(one));
  }

  std::unique_ptr<trace::EventLog> log_;
  std::unique_ptr<Timeline> timeline_;
  Tid first_;
};

TEST_F(TwoTasks, AreThereFromTheirBeginningToTheirEnd) {
  EXPECT_EQ(std::vector<Tid>{first_}, timeline_->tasks());
  EXPECT_FALSE(timeline_->registers(kSecond));
  ASSERT_TRUE(timeline_->seek({{2}, 0, 0, 0}));
  EXPECT_THAT(timeline_->tasks(), testing::UnorderedElementsAre(first_, kSecond));
  EXPECT_EQ(StopKind::kExiting, forward(*timeline_, RunKind::kContinue).kind);
  EXPECT_EQ(std::vector<Tid>{first_}, timeline_->tasks());
}

TEST_F(TwoTasks, AreTheSameWhereverTheUserComesFrom) {
  std::vector<AllTasks> states = all_states();
  ASSERT_GT(states.size(), kRounds * 30);
  for (size_t i = states.size() - 1; i-- > 0;) {
    ASSERT_EQ(StopKind::kStepped, backward(*timeline_, RunKind::kStep).kind);
    expect_same(states[i], here());
  }
  std::shuffle(states.begin(), states.end(), std::mt19937(3));
  for (const AllTasks& state : states) {
    ASSERT_TRUE(timeline_->seek(state.state.position));
    expect_same(state, here());
  }
}

TEST_F(TwoTasks, AreNamedByStops) {
  StopPoints points;
  points.breakpoints.push_back({subroutine(), {}});
  timeline_->set_stop_points(points);
  uint64_t hits_of_first = 0, hits_of_second = 0;
  for (;;) {
    const TimelineStop stop = forward(*timeline_, RunKind::kContinue);
    if (stop.kind != StopKind::kBreakpoint) break;
    const Registers registers = value_of(timeline_->registers(stop.task));
    EXPECT_EQ(subroutine(), registers.pc());
    EXPECT_EQ(stop.task == first_ ? kData.value : kData.value + kApart, registers.r12);
    ++(stop.task == first_ ? hits_of_first : hits_of_second);
  }
  EXPECT_EQ(kRounds, hits_of_first);
  EXPECT_EQ(kRounds - 1, hits_of_second);
  uint64_t hits_back = 0;
  while (backward(*timeline_, RunKind::kContinue).kind == StopKind::kBreakpoint) ++hits_back;
  EXPECT_EQ(hits_of_first + hits_of_second, hits_back);
}

// Each step of a task moves that one on by an instruction, whatever the other does meanwhile.
TEST_F(TwoTasks, AreSteppedOneByOne) {
  for (const Tid task : {first_, kSecond}) {
    ASSERT_TRUE(timeline_->seek({{2}, 0, 0, 0}));
    std::vector<Registers> passed{value_of(timeline_->registers(task))};
    for (int i = 0; i < 60; ++i) {
      const TimelineStop stop = step(false, task);
      ASSERT_EQ(StopKind::kStepped, stop.kind);
      ASSERT_EQ(task, stop.task);
      passed.push_back(value_of(timeline_->registers(task)));
      ASSERT_NE("", describe_difference(passed[passed.size() - 2], passed.back())) << i;
    }
    for (size_t i = passed.size() - 1; i-- > 0;) {
      const TimelineStop stop = step(true, task);
      ASSERT_EQ(StopKind::kStepped, stop.kind);
      ASSERT_EQ(task, stop.task);
      ASSERT_EQ("", describe_difference(passed[i], value_of(timeline_->registers(task)))) << i;
    }
  }
}

}  // namespace
}  // namespace rchk::timeline::test
