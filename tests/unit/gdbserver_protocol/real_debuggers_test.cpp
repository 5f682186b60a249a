// Real gdb and lldb against the fake target, over TCP: what no in-memory test can tell.

#include <array>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_target.h"
#include "gdbserver/protocol/session.h"

namespace rchk::protocol {
namespace {

using testing::FakeTarget;
using ::testing::HasSubstr;

bool is_installed(const std::string& program) {
  return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

std::string output_of(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::string output;
  std::array<char, 4096> buffer;
  while (size_t count = fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), count);
  }
  pclose(pipe);
  return output;
}

// Serves one connection while `command` runs, with PORT in it replaced. Returns what it printed.
std::string serve_while(target::Target& target, std::string command) {
  Result<Listener> listener = Listener::open("", 0);
  if (!listener) return listener.error().message();
  const std::string port = std::to_string(listener->port());
  command.replace(command.find("PORT"), 4, port);
  // A command that begins with an option is for `timeout` itself.
  const std::string limit = command.front() == '-' ? "timeout " : "timeout 60 ";
  auto output = std::async(std::launch::async, [&] { return output_of(limit + command); });
  const auto transport = listener->accept();
  if (!transport) return transport.error().message();
  SessionOptions options;
  if (std::getenv("RCHK_LOG_PACKETS") != nullptr) {
    options.log = [](char direction, std::string_view contents) {
      fmt::print(stderr, "{} {}\n", direction, contents.substr(0, 400));
    };
  }
  Session session(target, **transport, options);
  const Result<SessionEnd> end = session.run();
  if (!end) fmt::print(stderr, "session: {}\n", end.error().message());
  return output.get();
}

std::string gdb(target::Target& target, const std::string& commands) {
  return serve_while(
      target,
      "gdb -nx -batch -iex 'set auto-load off' -ex 'target remote 127.0.0.1:PORT' " + commands);
}

std::string lldb(target::Target& target, const std::string& commands) {
  return serve_while(target, "lldb-22 --no-lldbinit -o 'gdb-remote 127.0.0.1:PORT' " + commands +
                                 " -o quit </dev/null");
}

class RealGdb : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!is_installed("gdb")) GTEST_SKIP() << "gdb is not installed";
    target.layout = target::XsaveLayout::of_this_machine();
    target.extended.assign(16384, 0);
  }
  FakeTarget target;
};

class RealLldb : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!is_installed("lldb-22")) GTEST_SKIP() << "lldb-22 is not installed";
    target.layout = target::XsaveLayout::of_this_machine();
    target.extended.assign(16384, 0);
  }
  FakeTarget target;
};

TEST_F(RealGdb, StepsForwardAndBackward) {
  const std::string output = gdb(target,
                                 "-ex stepi -ex stepi -ex 'p $rax' -ex 'x/i $pc' -ex reverse-stepi "
                                 "-ex 'p $rax' -ex 'p/x $pc'");
  EXPECT_THAT(output, HasSubstr("$1 = 1\n"));
  EXPECT_THAT(output, HasSubstr("0x40100a:\tmov    %rax,0x402000"));
  EXPECT_THAT(output, HasSubstr("$2 = 0\n"));
  EXPECT_THAT(output, HasSubstr("$3 = 0x401007\n"));
}

TEST_F(RealGdb, BreaksUnderAConditionInBothDirections) {
  const std::string output =
      gdb(target,
          "-ex 'break *0x401012 if $rax == 3' -ex continue -ex 'p $rax' -ex 'delete 1' "
          "-ex 'break *0x401007 if $rax == 1' -ex reverse-continue -ex 'p $rax' -ex 'p/x $pc'");
  EXPECT_THAT(output, HasSubstr("$1 = 3\n"));
  EXPECT_THAT(output, HasSubstr("$2 = 1\n"));
  EXPECT_THAT(output, HasSubstr("$3 = 0x401007\n"));
  // The conditions were evaluated here: one resume a hit, besides stepping off.
  EXPECT_LE(target.requests.size(), 4u);
}

TEST_F(RealGdb, WatchesMemoryInBothDirections) {
  const std::string output =
      gdb(target,
          "-ex 'watch *(long*)0x402000' -ex continue -ex continue -ex 'p/x $pc' "
          "-ex reverse-continue -ex reverse-continue -ex 'p/x $pc' -ex 'p *(long*)0x402000'");
  EXPECT_THAT(output, HasSubstr("Old value = 1\nNew value = 2\n"));
  EXPECT_THAT(output, HasSubstr("$1 = 0x401012\n"));
  EXPECT_THAT(output, HasSubstr("Old value = 2\nNew value = 1\n"));
  EXPECT_THAT(output, HasSubstr("$2 = 0x40100a\n"));
  EXPECT_THAT(output, HasSubstr("$3 = 0\n"));
}

TEST_F(RealGdb, IsToldOfBothEndsOfHistory) {
  const std::string output = gdb(target,
                                 "-ex continue -ex 'p/x $pc' -ex reverse-continue "
                                 "-ex 'p/x $pc' -ex 'info threads'");
  EXPECT_THAT(output, HasSubstr("[the program exits with status 0]"));
  EXPECT_THAT(output, HasSubstr("No more reverse-execution history"));
  EXPECT_THAT(output, HasSubstr("$1 = 0x401017\n"));
  EXPECT_THAT(output, HasSubstr("$2 = 0x401000\n"));
  EXPECT_THAT(output, HasSubstr("\"main\""));
}

TEST_F(RealGdb, ReadsAndWritesAllKindsOfRegisters) {
  const std::string output =
      gdb(target,
          "-ex 'set $xmm1.v2_int64[1] = 77' -ex 'set $rbx = 5' -ex 'set $fs_base = 0x1234' "
          "-ex 'flushregs' -ex 'p $xmm1.v2_int64' -ex 'p $rbx' -ex 'p/x $fs_base' "
          "-ex 'p/x $mxcsr' -ex 'p/x $fctrl' -ex 'p/x $ftag' -ex 'p $ymm1.v4_int64' "
          "-ex 'set $k1 = 9' -ex 'p $k1' -ex 'p $zmm17.v8_int64[7]' -ex 'info registers'");
  EXPECT_THAT(output, HasSubstr("$1 = {0, 77}\n"));
  EXPECT_THAT(output, HasSubstr("$2 = 5\n"));
  EXPECT_THAT(output, HasSubstr("$3 = 0x1234\n"));
  EXPECT_THAT(output, HasSubstr("$4 = 0x1f80\n"));
  EXPECT_THAT(output, HasSubstr("$5 = 0x37f\n"));
  EXPECT_THAT(output, HasSubstr("$6 = 0xffff\n"));
  EXPECT_EQ(target.registers_of_main().rbx, 5u);
  EXPECT_EQ(target.registers_of_main().fs_base, 0x1234u);
  EXPECT_THAT(output, HasSubstr("eflags         0x202               [ IF ]"));
  if (target.layout.has(target::XsaveComponent::kAvx)) {
    EXPECT_THAT(output, HasSubstr("$7 = {0, 77, 0, 0}\n"));
  }
  if (target.layout.has(target::XsaveComponent::kOpmask)) {
    EXPECT_THAT(output, HasSubstr("$8 = 9\n$9 = 0\n"));
  }
}

TEST_F(RealGdb, InterruptsARunningTarget) {
  target.registers_of_main().rip = FakeTarget::kForever.value;
  // gdb takes the signal for the user's ^C, and goes on with its commands.
  const std::string output = serve_while(
      target,
      "-s INT --foreground 1 gdb -nx -batch -ex 'target remote 127.0.0.1:PORT' -ex continue "
      "-ex 'p/x $pc'");
  EXPECT_THAT(output, HasSubstr("Program received signal SIGINT"));
  EXPECT_THAT(output, HasSubstr("$1 = 0x401019"));
}

TEST_F(RealGdb, KeepsThreadsApart) {
  target.thread_list.push_back({FakeTarget::kOther, "worker"});
  const std::string output =
      gdb(target,
          "-ex 'thread 2' -ex 'p/x $pc' -ex stepi -ex 'thread 1' -ex 'p/x $pc' "
          "-ex 'info threads' -ex reverse-stepi -ex 'p/x $pc'");
  EXPECT_THAT(output, HasSubstr("$1 = 0x401100\n"));
  EXPECT_EQ(target.requests.at(0).thread, FakeTarget::kOther);
  EXPECT_EQ(target.requests.at(1).thread, FakeTarget::kMain);
  EXPECT_THAT(output, HasSubstr("\"worker\""));
}

TEST_F(RealGdb, RunsAgainFromTheStart) {
  const std::string output = serve_while(
      target,
      "gdb -nx -batch -iex 'set confirm off' -ex 'target extended-remote 127.0.0.1:PORT' "
      "-ex 'set remote exec-file /no/such/program' -ex stepi -ex stepi -ex starti -ex 'p/x $pc'");
  EXPECT_THAT(output, HasSubstr("$1 = 0x401000\n"));
  EXPECT_EQ(target.requests.size(), 2u);
}

TEST_F(RealGdb, StepsBackThroughARange) {
  const std::string output =
      gdb(target,
          "-ex stepi -ex stepi -ex stepi -ex stepi -ex 'monitor arm range 0x40100a 0x401016' "
          "-ex reverse-stepi -ex 'p/x $pc'");
  EXPECT_THAT(output, HasSubstr("$1 = 0x401007\n"));
  EXPECT_EQ(target.requests.size(), 5u);
}

TEST_F(RealGdb, LooksAgainAfterAMove) {
  const std::string output =
      gdb(target,
          "-ex stepi -ex stepi -ex 'monitor seek 0' -ex 'monitor arm refresh' -ex stepi "
          "-ex 'p/x $pc' -ex 'p $rax'");
  EXPECT_THAT(output, HasSubstr("$1 = 0x401000\n$2 = 0\n"));
  EXPECT_EQ(target.requests.size(), 2u);
}

TEST_F(RealGdb, RunsMonitorCommandsAndDetaches) {
  const std::string output = gdb(target, "-ex 'monitor something' -ex detach");
  EXPECT_THAT(output, HasSubstr("did something\n"));
  EXPECT_TRUE(target.detached);
}

TEST_F(RealLldb, StepsBreaksAndGoesBack) {
  const std::string output =
      lldb(target,
           "-o 'register read rip' -o 'thread step-inst' -o 'thread step-inst' "
           "-o 'register read rax rip' -o 'breakpoint set -a 0x401012' -o 'process continue' "
           "-o 'register read rip' -o 'process continue' -o 'register read rax rip' "
           "-o 'process continue --reverse' -o 'register read rax rip' "
           "-o 'breakpoint delete -f' -o 'process continue --reverse' -o 'register read rip' "
           "-o 'process continue -F' -o 'register read rip'");
  EXPECT_THAT(output, HasSubstr("rip = 0x0000000000401000"));
  EXPECT_THAT(output, HasSubstr("rax = 0x0000000000000001\n     rip = 0x000000000040100a"));
  EXPECT_THAT(output, HasSubstr("rax = 0x0000000000000002\n     rip = 0x0000000000401012"));
  EXPECT_THAT(output, HasSubstr("rax = 0x0000000000000001\n     rip = 0x0000000000401012"));
  EXPECT_THAT(output, HasSubstr("history boundary"));
  EXPECT_THAT(output, HasSubstr("rip = 0x0000000000401017"));
}

TEST_F(RealLldb, StopsAtWatchpoints) {
  const std::string output =
      lldb(target,
           "-o 'script lldb.target.WatchAddress(0x402000, 8, False, True, lldb.SBError())' -o "
           "'process continue' "
           "-o 'register read rip' -o 'process continue' -o 'register read rip rax' "
           "-o 'process continue --reverse' -o 'register read rip'");
  EXPECT_THAT(output, HasSubstr("rip = 0x0000000000401012"));
  EXPECT_THAT(output, HasSubstr("rax = 0x0000000000000002"));
  EXPECT_THAT(output, HasSubstr("rip = 0x000000000040100a"));
}

TEST_F(RealLldb, SetsABreakpointWhileRunningBackward) {
  // lldb interrupts the endless loop to send Z0, and goes on with a bare c.
  target.registers_of_main().rip = FakeTarget::kForever.value;
  const std::string output = lldb(
      target,
      "-o 'script lldb.debugger.SetAsync(True)' "
      "-o 'script lldb.process.ContinueInDirection(lldb.eRunReverse)' "
      "-o 'script import time; time.sleep(0.5)' "
      "-o 'script lldb.target.BreakpointCreateByAddress(0x401007)' "
      "-o 'script time.sleep(0.5)' -o 'script lldb.process.Stop()' -o 'script time.sleep(0.5)' "
      "-o 'register read rip'");
  ASSERT_GE(target.requests.size(), 2u) << output;
  EXPECT_EQ(target.requests[0].direction, target::Direction::kBackward);
  EXPECT_EQ(target.requests[1].direction, target::Direction::kBackward);
  EXPECT_THAT(output, HasSubstr("rip = 0x0000000000401019"));
}

TEST_F(RealLldb, KeepsThreadsApart) {
  target.thread_list.push_back({FakeTarget::kOther, "worker"});
  const std::string output =
      lldb(target,
           "-o 'thread list' -o 'thread select 2' -o 'register read rip' "
           "-o 'thread select 1' -o 'thread step-inst' -o 'register read rip'");
  EXPECT_THAT(output, HasSubstr("'worker'"));
  EXPECT_THAT(output, HasSubstr("rip = 0x0000000000401100"));
  EXPECT_THAT(output, HasSubstr("rip = 0x0000000000401007"));
}

TEST_F(RealLldb, GoesBackInReverseMode) {
  const std::string output =
      lldb(target,
           "-o 'thread step-inst' -o 'thread step-inst' "
           "-o 'process plugin packet monitor arm backward' -o 'thread step-inst' "
           "-o 'register read rip' -o 'process plugin packet monitor reverse-mode on' "
           "-o 'process continue' -o 'register read rip'");
  EXPECT_THAT(output, HasSubstr("rip = 0x0000000000401007"));
  EXPECT_THAT(output, HasSubstr("rip = 0x0000000000401000"));
  EXPECT_THAT(output, HasSubstr("begin of the recorded history"));
}

TEST_F(RealLldb, ReadsVectorRegistersAndMemory) {
  const std::string output =
      lldb(target,
           "-o 'register write rbx 5' -o 'register read rbx xmm0 fs_base' "
           "-o 'memory read -s1 -fx -c4 0x401000' -o 'memory region 0x401000'");
  EXPECT_THAT(output, HasSubstr("rbx = 0x0000000000000005"));
  EXPECT_THAT(output, HasSubstr("xmm0 = {"));
  EXPECT_THAT(output, HasSubstr("0x00401000: 0x48 0xc7 0xc1 0x05"));
  EXPECT_THAT(output, HasSubstr("r-x"));
}

}  // namespace
}  // namespace rchk::protocol
