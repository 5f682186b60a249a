#include <chrono>
#include <csignal>

#include "engine/record/recorder.h"
#include "engine/tracee/xsavec.h"
#include "tests/unit/engine_record/guests.h"
#include "tests/unit/engine_record/session.h"

namespace rchk::record::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

RunLimits deadline_in(milliseconds time) {
  RunLimits limits;
  limits.deadline = steady_clock::now() + time;
  return limits;
}

uint64_t word_at(Session& session, GuestAddress address) {
  uint64_t value = 0;
  EXPECT_EQ(session.recorder().read_memory(address, {reinterpret_cast<uint8_t*>(&value), 8}), 8u);
  return value;
}

TEST(RecorderBreakpoints, StopBeforeTheInstruction) {
  Session session("landmarks");
  const GuestAddress landmark =
      session.in_guest(reinterpret_cast<const void*>(&rchk_test_landmark));
  const GuestAddress watched = session.in_guest(&g_watched);
  uint8_t before = 0;
  session.recorder().read_memory(landmark, {&before, 1});
  ASSERT_TRUE(session.recorder().insert_breakpoint(landmark));
  uint64_t expected = 0;
  for (uint64_t i = 0; i < 5; ++i) {
    const RecorderStop stop = session.run();
    ASSERT_EQ(stop.cause, StopCause::kBreakpoint);
    EXPECT_EQ(stop.address, landmark);
    EXPECT_EQ(session.recorder().registers()->pc(), landmark);
    expected += i * 7;
    EXPECT_EQ(word_at(session, watched), expected);
    uint8_t now = 0;
    session.recorder().read_memory(landmark, {&now, 1});
    EXPECT_EQ(now, before);
  }
  const RecorderStop stop = session.run();
  EXPECT_EQ(stop.cause, StopCause::kExited);
  EXPECT_EQ(stop.status, 5);
  EXPECT_EQ(session.output(), "landmarks\n");
  EXPECT_TRUE(session.events<trace::SignalEvent>().empty());
}

// The XSAVEC instructions that the recorder carries out itself, in all of the guest's code.
std::vector<GuestAddress> xsavec_sites(Session& session) {
  std::vector<GuestAddress> sites;
  for (const auto& [begin, mapping] : session.recorder().address_space().mappings()) {
    if (!mapping.executable()) continue;
    Bytes code(mapping.range.size());
    code.resize(session.recorder().read_memory(begin, code));
    for (const size_t at : tracee::find_lazy_binding_xsavec(code)) sites.push_back(begin + at);
  }
  return sites;
}

TEST(RecorderXsavec, IsCarriedOutUnseen) {
  Session session("landmarks");
  const std::vector<GuestAddress> sites = xsavec_sites(session);
  if (sites.empty()) GTEST_SKIP() << "this dynamic linker has none";
  uint64_t hits = 0;
  for (const GuestAddress site : sites) {
    ASSERT_TRUE(session.recorder().insert_breakpoint(site));
  }
  RecorderStop stop = session.run();
  for (; stop.cause == StopCause::kBreakpoint; stop = session.run()) {
    ++hits;
    EXPECT_EQ(session.recorder().registers()->pc(), stop.address);
    EXPECT_EQ(xsavec_sites(session), sites) << "no int3 may be seen";
    if (hits % 2 == 0) continue;
    RunLimits one_step;
    one_step.single_step = true;
    EXPECT_EQ(session.run(one_step).cause, StopCause::kStepped);
    const uint64_t length = session.recorder().registers()->rip - stop.address.value;
    EXPECT_TRUE(length == 5 || length == 8) << length;
  }
  EXPECT_EQ(stop.cause, StopCause::kExited);
  EXPECT_EQ(stop.status, 5);
  EXPECT_EQ(session.output(), "landmarks\n");
  EXPECT_TRUE(session.events<trace::SignalEvent>().empty());
}

TEST(RecorderWatchpoints, StopBehindTheStore) {
  if (!hardware_watchpoints_work()) GTEST_SKIP() << "debug registers do nothing here";
  Session session("landmarks");
  const GuestAddress watched = session.in_guest(&g_watched);
  ASSERT_TRUE(session.recorder().insert_watchpoint({watched, 8, WatchAccess::kWrite}));
  // The first store leaves zero where zero was.
  uint64_t expected = 0;
  for (uint64_t i = 1; i < 5; ++i) {
    const RecorderStop stop = session.run();
    ASSERT_EQ(stop.cause, StopCause::kWatchpoint);
    expected += i * 7;
    EXPECT_EQ(word_at(session, watched), expected);
  }
  EXPECT_EQ(session.run().cause, StopCause::kExited);
}

// With or without debug registers.
TEST(RecorderWatchpoints, StopBehindAStepOverTheStore) {
  Session session("landmarks");
  const GuestAddress watched = session.in_guest(&g_watched);
  ASSERT_TRUE(session.recorder().insert_breakpoint(
      session.in_guest(reinterpret_cast<const void*>(&rchk_test_landmark))));
  for (int i = 0; i < 3; ++i) ASSERT_EQ(session.run().cause, StopCause::kBreakpoint);
  ASSERT_TRUE(session.recorder().insert_watchpoint({watched, 8, WatchAccess::kWrite}));
  const uint64_t before = word_at(session, watched);
  RunLimits step;
  step.single_step = true;
  RecorderStop stop;
  for (int i = 0; i < 1000 && stop.cause != StopCause::kWatchpoint; ++i) stop = session.run(step);
  ASSERT_EQ(stop.cause, StopCause::kWatchpoint);
  EXPECT_EQ(stop.address, watched);
  EXPECT_NE(word_at(session, watched), before);
}

TEST(RecorderWatchpoints, SeeTheKernelsStores) {
  Session session("read_into_watched");
  const GuestAddress watched = session.in_guest(&g_watched);
  ASSERT_TRUE(session.recorder().insert_watchpoint({watched, 8, WatchAccess::kWrite}));
  const RecorderStop stop = session.run();
  ASSERT_EQ(stop.cause, StopCause::kWatchpoint);
  EXPECT_EQ(stop.address, watched);
  EXPECT_EQ(word_at(session, watched), 12345u);
  EXPECT_EQ(session.run().cause, StopCause::kExited);
}

TEST(RecorderWatchpoints, RefuseWhatTheProcessorCannotDo) {
  Session session("nothing");
  Recorder& recorder = session.recorder();
  EXPECT_EQ(recorder.insert_watchpoint({{0x1000}, 16, WatchAccess::kWrite}).error().kind,
            ErrorKind::kUnsupported);
  EXPECT_FALSE(recorder.insert_watchpoint({{0x1001}, 4, WatchAccess::kWrite}));
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(recorder.insert_watchpoint({{0x1000 + 8 * i}, 8, WatchAccess::kWrite}));
  }
  EXPECT_FALSE(recorder.insert_watchpoint({{0x2000}, 8, WatchAccess::kWrite}));
}

TEST(RecorderSteps, GoThroughAWholeProgram) {
  Session session("push_flags");
  RunLimits step;
  step.single_step = true;
  uint64_t steps = 0;
  RecorderStop stop = session.run(step);
  // The dynamic linker takes some hundred thousand instructions: go near the end first.
  while (stop.cause == StopCause::kStepped && steps++ < 2000) stop = session.run(step);
  EXPECT_EQ(stop.cause, StopCause::kStepped);
  EXPECT_EQ(session.run().cause, StopCause::kExited);
  EXPECT_EQ(session.output(), "clear\n");
}

TEST(RecorderSteps, ARepeatedStringInstructionIsOne) {
  Session session("copy_a_string");
  const GuestAddress rep = session.in_guest(rchk_test_rep);
  ASSERT_TRUE(session.recorder().insert_breakpoint(rep));
  ASSERT_EQ(session.run().cause, StopCause::kBreakpoint);
  EXPECT_EQ(session.recorder().registers()->rcx, 1000u);
  RunLimits step;
  step.single_step = true;
  EXPECT_EQ(session.run(step).cause, StopCause::kStepped);
  EXPECT_EQ(session.recorder().registers()->pc(), rep + 2);
  EXPECT_EQ(session.recorder().registers()->rcx, 0u);
  EXPECT_EQ(session.run().cause, StopCause::kExited);
  EXPECT_EQ(session.output(), "copied\n");
}

// Steps from the landmark's last visit to the end: over a system call, to exit_group.
TEST(RecorderSteps, MakeTheEventsTheyPass) {
  Session session("landmarks");
  ASSERT_TRUE(session.recorder().insert_breakpoint(
      session.in_guest(reinterpret_cast<const void*>(&rchk_test_landmark))));
  for (int i = 0; i < 5; ++i) ASSERT_EQ(session.run().cause, StopCause::kBreakpoint);
  const uint64_t events = session.recorder().event_count();
  RunLimits step;
  step.single_step = true;
  step.stop_before_exit = true;
  RecorderStop stop;
  for (int i = 0; i < 100'000; ++i) {
    stop = session.run(step);
    if (stop.cause != StopCause::kStepped) break;
  }
  EXPECT_EQ(stop.cause, StopCause::kAboutToExit);
  EXPECT_EQ(stop.status, 5);
  EXPECT_EQ(session.recorder().event_count(), events + 1);
  EXPECT_EQ(session.run(step).cause, StopCause::kExited);
}

TEST(RecorderInterrupts, ComeInComputation) {
  Session session("spin");
  uint64_t before = 0;  // that, until the program has begun
  do {
    ASSERT_EQ(session.run(deadline_in(milliseconds(50))).cause, StopCause::kInterrupted);
    before = word_at(session, session.in_guest(&g_counter));
  } while (before == 0);
  EXPECT_EQ(session.run(deadline_in(milliseconds(50))).cause, StopCause::kInterrupted);
  EXPECT_GT(word_at(session, session.in_guest(&g_counter)), before);
  EXPECT_TRUE(session.events<trace::SignalEvent>().empty());
}

class RecorderInterruptedCalls : public testing::TestWithParam<const char*> {};

TEST_P(RecorderInterruptedCalls, GoOnUnnoticed) {
  Session session(GetParam());
  const auto start = steady_clock::now();
  int interrupts = 0;
  RecorderStop stop = session.run(deadline_in(milliseconds(40)));
  while (stop.cause == StopCause::kInterrupted && interrupts++ < 100) {
    uint8_t code[2] = {};
    const auto registers = session.recorder().registers();
    ASSERT_TRUE(registers);
    session.recorder().read_memory(registers->pc(), code);
    stop = session.run(deadline_in(milliseconds(40)));
  }
  EXPECT_GE(interrupts, 3);
  EXPECT_EQ(stop.cause, StopCause::kExited);
  const std::string output = session.output();
  EXPECT_TRUE(output == "slept\n" || output == "timeout\n") << output;
  EXPECT_GE(steady_clock::now() - start, milliseconds(290));
  for (const auto& call : session.events<trace::SyscallEvent>()) {
    EXPECT_NE(static_cast<int64_t>(call.after.rax), -EINTR);
    EXPECT_GE(static_cast<int64_t>(call.after.rax), -511) << call.number;
  }
}

INSTANTIATE_TEST_SUITE_P(Guests, RecorderInterruptedCalls,
                         testing::Values("sleep_a_little", "wait_in_epoll"),
                         [](const auto& param) { return std::string(param.param); });

TEST(RecorderInterrupts, RestartACallThatFailsWithEintr) {
  Session session("wait_in_epoll");
  uint8_t code[2] = {};
  // Until the program has got there.
  while (code[0] != 0x0f) {
    ASSERT_EQ(session.run(deadline_in(milliseconds(20))).cause, StopCause::kInterrupted);
    session.recorder().read_memory(session.recorder().registers()->pc(), code);
  }
  EXPECT_EQ(code[0], 0x0f);
  EXPECT_EQ(code[1], 0x05);
  EXPECT_EQ(session.run().cause, StopCause::kExited);
  EXPECT_EQ(session.output(), "timeout\n");
}

TEST(RecorderExits, CanBeHeldBack) {
  Session session("landmarks");
  RunLimits limits;
  limits.stop_before_exit = true;
  limits.stop_at_signals = true;
  const RecorderStop stop = session.run(limits);
  EXPECT_EQ(stop.cause, StopCause::kAboutToExit);
  EXPECT_EQ(stop.status, 5);
  EXPECT_EQ(word_at(session, session.in_guest(&g_watched)), 70u);
  EXPECT_EQ(session.run(limits).cause, StopCause::kExited);
}

TEST(RecorderExits, OfASignalAreToldTwice) {
  Session session("store_to_null");
  RunLimits limits;
  limits.stop_before_exit = true;
  limits.stop_at_signals = true;
  RecorderStop stop = session.run(limits);
  EXPECT_EQ(stop.cause, StopCause::kSignal);
  EXPECT_EQ(stop.signal, SIGSEGV);
  ASSERT_TRUE(session.recorder().fork_snapshot());
  stop = session.run(limits);
  EXPECT_EQ(stop.cause, StopCause::kAboutToExit);
  stop = session.run(limits);
  EXPECT_EQ(stop.cause, StopCause::kExited);
  EXPECT_EQ(stop.signal, SIGSEGV);
  EXPECT_EQ(session.events<trace::SignalEvent>().size(), 1u);
}

TEST(RecorderSnapshots, AreCopiesThatStay) {
  Session session("landmarks");
  ASSERT_TRUE(session.recorder().insert_breakpoint(
      session.in_guest(reinterpret_cast<const void*>(&rchk_test_landmark))));
  const GuestAddress watched = session.in_guest(&g_watched);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(session.run().cause, StopCause::kBreakpoint);
  auto taken = session.recorder().fork_snapshot();
  ASSERT_TRUE(taken) << taken.error().message();
  std::optional<ForkSnapshot> snapshot = std::move(*taken);
  EXPECT_EQ(snapshot->registers, *session.recorder().registers());
  EXPECT_EQ(session.run().cause, StopCause::kBreakpoint);
  EXPECT_EQ(word_at(session, watched), 42u);
  uint64_t kept = 0;
  snapshot->process.read_memory(watched, {reinterpret_cast<uint8_t*>(&kept), 8});
  EXPECT_EQ(kept, 21u);
  snapshot.reset();  // it has the guest's output open
  EXPECT_EQ(session.run().cause, StopCause::kBreakpoint);
  EXPECT_EQ(session.run().cause, StopCause::kExited);
  EXPECT_EQ(session.output(), "landmarks\n");
  for (const auto& call : session.events<trace::SyscallEvent>()) EXPECT_NE(call.number, 56);
}

}  // namespace
}  // namespace rchk::record::test
