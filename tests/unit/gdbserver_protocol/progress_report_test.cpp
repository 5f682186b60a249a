#include "gdbserver/protocol/progress_report.h"

#include <gtest/gtest.h>

#include "fake_client.h"
#include "fake_target.h"
#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {
namespace {

using std::chrono::milliseconds;
using testing::MemoryTransport;

using Clock = std::chrono::steady_clock;
using Wait = ProgressReport::Wait;

Clock::time_point the_time;

class ProgressReportTest : public ::testing::Test {
 protected:
  // Works for so long, and tells of it every 20 ms; what the debugger got.
  std::string work(Wait wait, milliseconds time) {
    transport.output.clear();
    report.begin(wait);
    for (milliseconds done(0); done < time; done += milliseconds(20)) {
      the_time += milliseconds(20);
      report.tell([&] { return std::to_string(done.count() / 1000) + " s"; });
    }
    return transport.output;
  }
  static std::string console(std::string_view text) { return testing::framed("O" + hex_of(text)); }

  MemoryTransport transport;
  PacketStream stream{transport};
  ProgressReport report{stream, [] { return the_time; }};
};

TEST_F(ProgressReportTest, SaysNothingOfWhatIsQuick) {
  EXPECT_EQ(work(Wait::kStop, milliseconds(2900)), "");
  EXPECT_EQ(work(Wait::kMonitor, milliseconds(500)), "");
  EXPECT_EQ(work(Wait::kAnswer, milliseconds(500)), "");
}

// gdb waits for them 2 s at most, three times over.
TEST_F(ProgressReportTest, KeepsTheDebuggerWaitingForAnswers) {
  EXPECT_EQ(work(Wait::kAnswer, milliseconds(5000)), "++++++++");
}

TEST_F(ProgressReportTest, TellsHowFarALongRunHasCome) {
  EXPECT_EQ(work(Wait::kStop, milliseconds(9900)),
            console("rchk: 2 s; ^C stops it\n") + console("rchk: 5 s\n") + console("rchk: 8 s\n"));
}

TEST_F(ProgressReportTest, TellsLessOftenTheLongerItTakes) {
  const size_t lines = testing::packets_in(work(Wait::kStop, milliseconds(600'000))).size();
  EXPECT_GT(lines, 8u);
  EXPECT_LT(lines, 16u);
}

TEST_F(ProgressReportTest, TellsOfMonitorCommandsAndKeepsTheDebuggerWaiting) {
  EXPECT_EQ(work(Wait::kMonitor, milliseconds(4000)), "++++" + console("rchk: 2 s\n") + "+");
}

TEST_F(ProgressReportTest, SendsLldbNothingThatItTakesForAnAnswer) {
  report.set_keeps_waiting(false);
  EXPECT_EQ(work(Wait::kAnswer, milliseconds(5000)), "");
}

}  // namespace
}  // namespace rchk::protocol
