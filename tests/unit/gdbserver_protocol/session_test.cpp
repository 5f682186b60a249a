#include "gdbserver/protocol/session.h"

#include <csignal>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_client.h"
#include "fake_target.h"
#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {
namespace {

using target::Direction;
using target::ResumeKind;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using testing::FakeClient;
using testing::FakeTarget;
using testing::framed;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class SessionTest : public ::testing::Test {
 protected:
  void connect_as_gdb() {
    client.ask("qSupported:multiprocess+;swbreak+;hwbreak+;exec-events+;vContSupported+");
  }
  void connect_as_lldb() {
    client.ask("QStartNoAckMode");
    client.ask("QThreadSuffixSupported");
    client.ask("QListThreadsInStopReply");
  }
  std::string monitor(std::string_view command) {
    std::string text;
    for (const std::string& packet : client.exchange("qRcmd," + hex_of(command))) {
      if (packet.starts_with("O") && packet != "OK") text += *decode_hex_text(packet.substr(1));
    }
    return text;
  }

  FakeTarget target;
  FakeClient client{target};
};

// Framing and acknowledgements

TEST_F(SessionTest, AcknowledgesUntilToldNotTo) {
  EXPECT_EQ(client.raw("$qC#b4"), "+$QC111#27");
  EXPECT_EQ(client.raw("$QStartNoAckMode#b0"), "+$OK#9a");
  EXPECT_EQ(client.raw("+$qC#b4"), "$QC111#27");
}

TEST_F(SessionTest, AsksForADamagedPacketAgain) {
  EXPECT_EQ(client.raw("$qC#b5"), "-");
  EXPECT_EQ(client.raw("$qC#b4"), "+$QC111#27");
}

TEST_F(SessionTest, RefusesADamagedPacketWhereItCannotAskAgain) {
  client.ask("QStartNoAckMode");
  EXPECT_EQ(client.ask("qC"), "QC111");
  EXPECT_EQ(testing::packets_in(client.raw("$qC#b5")), std::vector<std::string>{"E16"});
}

TEST_F(SessionTest, RepeatsAReplyThatWasDamaged) {
  client.raw("$qC#b4");
  EXPECT_EQ(client.raw("-"), "$QC111#27");
}

// gdb sends one where an answer takes longer than its time-out, which comes all the same.
TEST_F(SessionTest, RepeatsNothingWithoutAcknowledgements) {
  client.ask("QStartNoAckMode");
  EXPECT_EQ(client.raw("+$qC#b4"), "$QC111#27");
  EXPECT_EQ(client.raw("-"), "");
}

TEST_F(SessionTest, RefusesPacketsThatAreTooLong) {
  EXPECT_EQ(client.ask("m" + std::string(kMaxPacketBytes, '0')), "E16");
  EXPECT_EQ(client.ask("qC"), "QC111");
}

TEST_F(SessionTest, AnswersUnknownPacketsWithTheEmptyReply) {
  for (const char* packet : {"vMustReplyEmpty", "vAttach;1", "qOffsets", "qTStatus", "QNonStop:1",
                             "QThreadEvents:1", "e", "y", "bx", "_x", "qVAttachOrWaitSupported",
                             "qXfer:osdata:read::0,10", "Z7,1,1", "vFile:unlink:00", ""}) {
    EXPECT_EQ(client.ask(packet), "") << packet;
  }
}

TEST_F(SessionTest, AnswersMalformedPacketsWithAnError) {
  for (const char* packet : {"m",
                             "mx,1",
                             "m1",
                             "m1,1x",
                             "M1,1:",
                             "M1,1:zz",
                             "X1,2:a",
                             "p",
                             "pxyz",
                             "pfff",
                             "P",
                             "P1",
                             "P1=00",
                             "P0=zz",
                             "G00",
                             "Hx1",
                             "Hg",
                             "Hgx",
                             "Txyz",
                             "vCont",
                             "vCont;x",
                             "vCont;t",
                             "Z0",
                             "Z0,x,1",
                             "z0,1",
                             "Z0,1,1;X",
                             "C",
                             "Cxx",
                             "cxyz",
                             "qXfer:auxv:read::0",
                             "qRcmd,0",
                             "qXfer:features:read:other.xml:0,10",
                             "qMemoryRegionInfo:x",
                             "vFile:open:0,0,0",
                             "vFile:pread:0",
                             "vFile:close:x",
                             "vKill;x",
                             "QPassSignals:x",
                             "QCatchSyscalls:2",
                             "QCatchSyscalls:1;x",
                             "_Mx",
                             "_M10,q",
                             "_mx",
                             "qThreadExtraInfo,x",
                             "qThreadStopInfox",
                             "QRestoreRegisterState:x",
                             "QRestoreRegisterState:5",
                             "g;thread:x;"}) {
    EXPECT_THAT(client.ask(packet), StartsWith("E")) << packet;
  }
  EXPECT_EQ(client.ask("qC"), "QC111");
}

TEST_F(SessionTest, EndsWhenTheDebuggerIsGone) {
  EXPECT_EQ(client.raw(""), "");
  EXPECT_EQ(client.end(), SessionEnd::kDisconnected);
  EXPECT_FALSE(target.killed);
  client.transport.broken = true;
  client.transport.input = framed("qC");
  EXPECT_FALSE(client.session.run());
}

// What is offered

TEST_F(SessionTest, OffersWhatTheTargetHas) {
  const std::string offered = client.ask("qSupported:multiprocess+;xmlRegisters=i386");
  for (const char* feature :
       {"PacketSize=20000", "ReverseStep+", "ReverseContinue+", "qXfer:auxv:read+",
        "qXfer:exec-file:read+", "qXfer:siginfo:read+", "qXfer:libraries-svr4:read+",
        "QPassSignals+", "QCatchSyscalls+", "ConditionalBreakpoints+", "multiprocess+"}) {
    EXPECT_THAT(offered, HasSubstr(feature));
  }
}

TEST_F(SessionTest, OffersNothingThatTheTargetLacks) {
  target.offers_features = false;
  target.goes_back = false;
  const std::string offered = client.ask("qSupported");
  for (const char* feature :
       {"Reverse", "auxv", "exec-file", "siginfo", "libraries", "QPassSignals", "QCatchSyscalls"}) {
    EXPECT_THAT(offered, Not(HasSubstr(feature)));
  }
  for (const char* packet :
       {"bc", "bs", "qXfer:auxv:read::0,10", "qXfer:exec-file:read::0,10",
        "qXfer:siginfo:read::0,10", "qXfer:siginfo:write::0:x", "qXfer:libraries-svr4:read::0,10",
        "QPassSignals:e", "QCatchSyscalls:1", "qMemoryRegionInfo:0", "_M10,r", "_m10", "!",
        "vRun;"}) {
    EXPECT_EQ(client.ask(packet), "") << packet;
  }
}

// Registers

TEST_F(SessionTest, ReadsAndWritesRegisters) {
  EXPECT_EQ(client.ask("p10"), "0010400000000000");
  EXPECT_EQ(client.ask("P3=0100000000000000"), "OK");
  EXPECT_EQ(target.registers_of_main().rdx, 1u);
  std::string all = client.ask("g");
  EXPECT_THAT(all.substr(2 * 8 * 3), StartsWith("0100000000000000"));
  all[2 * 8 * 3 + 1] = '2';
  EXPECT_EQ(client.ask("G" + all), "OK");
  EXPECT_EQ(target.registers_of_main().rdx, 2u);
}

TEST_F(SessionTest, ReadsOtherThreadsRegisters) {
  target.thread_list.push_back({FakeTarget::kOther, ""});
  EXPECT_EQ(client.ask("Hg222"), "OK");
  EXPECT_EQ(client.ask("p10"), "0011400000000000");
  EXPECT_EQ(client.ask("p10;thread:111;"), "0010400000000000");
  EXPECT_EQ(client.ask("Hg0"), "OK");
  EXPECT_EQ(client.ask("p10;thread:222;"), "0011400000000000");
  EXPECT_THAT(client.ask("g;thread:222;").substr(2 * 8 * 16), StartsWith("0011400000000000"));
}

TEST_F(SessionTest, SavesAndRestoresRegisters) {
  const std::string id = client.ask("QSaveRegisterState;thread:111;");
  client.ask("P0=0900000000000000");
  EXPECT_EQ(client.ask("QRestoreRegisterState:" + id + ";thread:111;"), "OK");
  EXPECT_EQ(target.registers_of_main().rax, 0u);
  // Once.
  EXPECT_THAT(client.ask("QRestoreRegisterState:" + id + ";"), StartsWith("E"));
}

// Memory

TEST_F(SessionTest, ReadsAndWritesMemory) {
  EXPECT_EQ(client.ask("m401000,3"), "48c7c1");
  EXPECT_EQ(client.ask("M402000,2:abcd"), "OK");
  EXPECT_EQ(client.ask("X402002,2:}\x03}]"), "OK");
  EXPECT_EQ(client.ask("m402000,5"), "abcd237d00");
  EXPECT_EQ(client.ask("X402002,0:"), "OK");
}

TEST_F(SessionTest, ReadsAsMuchAsThereIs) {
  EXPECT_EQ(client.ask("m402030,100").size(), 2 * 16u);
  EXPECT_EQ(client.ask("m500000,1"), "E0e");
  EXPECT_EQ(client.ask("M500000,1:00"), "E0e");
  EXPECT_EQ(client.ask("mffffffffffffffff,1"), "E16");
}

TEST_F(SessionTest, ReadsBinaryMemoryForBothKindsOfDebuggers) {
  client.ask("M402000,4:2a237d24");
  EXPECT_EQ(client.ask("x402000,4"), "b*#}$");
  // lldb before 20 asks so whether x is known.
  EXPECT_EQ(client.ask("x0,0"), "OK");
  EXPECT_EQ(client.ask("x402000,4"), "*#}$");
}

TEST_F(SessionTest, TellsMemoryRegions) {
  EXPECT_EQ(client.ask("qMemoryRegionInfo:401010"),
            "start:401000;size:1000;permissions:rx;name:" + hex_of("/a program") + ";");
  EXPECT_EQ(client.ask("qMemoryRegionInfo:10"), "start:0;size:401000;");
}

TEST_F(SessionTest, AllocatesMemory) {
  EXPECT_EQ(client.ask("_M1000,rwx"), "10007");
  EXPECT_EQ(client.ask("_m10007"), "OK");
  EXPECT_EQ(client.ask("_m0"), "E01");
}

// Running

TEST_F(SessionTest, TellsWhyItStopped) {
  connect_as_gdb();
  EXPECT_EQ(client.ask("?"),
            "T0501:0000000000000000;06:0009fe7f00000000;07:0008fe7f00000000;10:0010400000000000;"
            "thread:p111.111;");
}

TEST_F(SessionTest, StepsForwardAndBackward) {
  EXPECT_THAT(client.ask("vCont;s:111"), HasSubstr("10:0710400000000000;"));
  EXPECT_THAT(client.ask("s"), HasSubstr("10:0a10400000000000;"));
  EXPECT_THAT(client.ask("bs"), HasSubstr("10:0710400000000000;"));
  EXPECT_THAT(client.ask("bs"), HasSubstr("10:0010400000000000;"));
  EXPECT_THAT(client.ask("bs"), EndsWith("replaylog:begin;"));
}

TEST_F(SessionTest, ContinuesToBreakpoints) {
  connect_as_gdb();
  EXPECT_EQ(client.ask("Z0,401012,1"), "OK");
  EXPECT_THAT(client.ask("vCont;c:p111.-1"), EndsWith("thread:p111.111;swbreak:;"));
  EXPECT_EQ(client.ask("z0,401012,1"), "OK");
  EXPECT_EQ(client.ask("Z1,401007,1"), "OK");
  EXPECT_THAT(client.ask("bc"), EndsWith("hwbreak:;"));
  EXPECT_EQ(target.registers_of_main().rax, 0u);
}

TEST_F(SessionTest, SaysNothingOfBreakpointsToWhoDoesNotKnow) {
  client.ask("Z0,401012,1");
  EXPECT_THAT(client.ask("c"), EndsWith("thread:111;"));
}

TEST_F(SessionTest, EvaluatesConditions) {
  // $rax == 3
  client.ask(
      "Z0,401012,1;X6,260000220313"
      "27");
  EXPECT_EQ(client.ask("Z0,401012,1;X7,26000022031327"), "OK");
  client.ask("c");
  EXPECT_EQ(target.registers_of_main().rax, 3u);
  EXPECT_EQ(target.points.size(), 1u);
}

TEST_F(SessionTest, StopsAtWatchpoints) {
  EXPECT_EQ(client.ask("Z2,402000,8"), "OK");
  EXPECT_THAT(client.ask("c"), EndsWith("watch:402000;"));
  EXPECT_EQ(target.stored(), 1u);
  EXPECT_THAT(client.ask("bc"), EndsWith("watch:402000;"));
  EXPECT_EQ(target.stored(), 0u);
  // What the target does not have: gdb tries another kind.
  EXPECT_EQ(client.ask("Z3,402000,8"), "");
  EXPECT_EQ(client.ask("Z4,402008,8"), "OK");
  target.next_stop = target::Stop{
      FakeTarget::kMain,
      target::WatchpointHit{target::StopPointKind::kAccessWatchpoint, FakeTarget::kData}};
  EXPECT_THAT(client.ask("c"), EndsWith("awatch:402000;"));
}

TEST_F(SessionTest, StepsARange) {
  EXPECT_THAT(client.ask("vCont;r401007,401015:p1.111;c:p1.-1"), HasSubstr("10:1510400000000000;"));
  EXPECT_EQ(target.requests.back().kind, ResumeKind::kRangeStep);
  EXPECT_EQ(target.requests.back().thread, FakeTarget::kMain);
  EXPECT_EQ(target.requests.back().range,
            (AddressRange{GuestAddress{0x401007}, GuestAddress{0x401015}}));
}

TEST_F(SessionTest, PassesSignalsOn) {
  target.next_stop = target::Stop{FakeTarget::kMain, target::SignalStop{SIGUSR1}};
  EXPECT_THAT(client.ask("C0a"), StartsWith("T1e"));
  EXPECT_EQ(target.requests.back().signal, SIGBUS);
  client.ask("vCont;S1e:111");
  EXPECT_EQ(target.requests.back().signal, SIGUSR1);
  // lldb uses the system's own numbers.
  connect_as_lldb();
  target.next_stop = target::Stop{FakeTarget::kMain, target::SignalStop{SIGUSR1}};
  EXPECT_THAT(client.ask("C0a"), StartsWith("T0a"));
  EXPECT_EQ(target.requests.back().signal, SIGUSR1);
}

TEST_F(SessionTest, ResumesElsewhere) {
  EXPECT_THAT(client.ask("s401012"), HasSubstr("10:1510400000000000;"));
}

TEST_F(SessionTest, NeverEndsTheSessionWhenTheProgramExits) {
  const std::vector<std::string> replies = client.exchange("c");
  ASSERT_EQ(replies.size(), 2u);
  EXPECT_EQ(replies[0], "O" + hex_of("[the program exits with status 0]\n"));
  EXPECT_THAT(replies[1], StartsWith("T05"));
  EXPECT_THAT(replies[1], EndsWith("replaylog:end;"));
  EXPECT_THAT(client.ask("bs"), HasSubstr("10:1510400000000000;"));
}

TEST_F(SessionTest, EndsTheSessionWhenTheProgramIsGone) {
  connect_as_gdb();
  target.next_stop = target::Stop{FakeTarget::kMain, target::Exited{3, 0}};
  EXPECT_EQ(client.ask("c"), "W03;process:111");
  EXPECT_EQ(client.end(), SessionEnd::kExited);
}

TEST_F(SessionTest, TellsTheSignalThatEndedTheProgram) {
  target.next_stop = target::Stop{FakeTarget::kMain, target::Exited{0, SIGBUS}};
  EXPECT_EQ(client.ask("c"), "X0a");
}

TEST_F(SessionTest, ShowsOutputWhileRunning) {
  target.next_output = std::string(200000, 'x');
  const std::vector<std::string> replies = client.exchange("s");
  std::string text;
  for (size_t i = 0; i + 1 < replies.size(); ++i) {
    EXPECT_LE(replies[i].size(), kMaxPacketBytes);
    text += *decode_hex_text(replies[i].substr(1));
  }
  EXPECT_EQ(text, std::string(200000, 'x'));
}

TEST_F(SessionTest, ShowsWhyItCouldNotResume) {
  target.next_stop = Result<target::Stop>(fail(ErrorKind::kDivergence, "differs"));
  EXPECT_THAT(client.exchange("c"),
              ElementsAre("O" + hex_of("rchk: differs\n"), StartsWith("T05")));
  target.next_stop = target::Stop{FakeTarget::kMain, target::Unsupported{"cannot"}};
  EXPECT_THAT(client.exchange("c"), ElementsAre("O" + hex_of("cannot\n"), StartsWith("T05")));
}

TEST_F(SessionTest, TellsSystemCallsAndExec) {
  EXPECT_EQ(client.ask("QCatchSyscalls:1;0;e7"), "OK");
  EXPECT_EQ(target.caught_syscalls, (std::vector<int>{0, 231}));
  EXPECT_EQ(client.ask("QCatchSyscalls:1"), "OK");
  EXPECT_EQ(target.caught_syscalls, std::vector<int>{});
  EXPECT_EQ(client.ask("QCatchSyscalls:0"), "OK");
  EXPECT_EQ(target.caught_syscalls, std::nullopt);
  target.next_stop = target::Stop{FakeTarget::kMain, target::SyscallStop{231, false}};
  EXPECT_THAT(client.ask("c"), EndsWith("syscall_entry:e7;"));
  target.next_stop = target::Stop{FakeTarget::kMain, target::SyscallStop{1, true}};
  EXPECT_THAT(client.ask("c"), EndsWith("syscall_return:1;"));
  connect_as_gdb();
  target.next_stop = target::Stop{FakeTarget::kMain, target::Exec{"/bin/x"}};
  EXPECT_THAT(client.ask("c"), EndsWith("exec:" + hex_of("/bin/x") + ";"));
}

TEST_F(SessionTest, SilencesSignals) {
  EXPECT_EQ(client.ask("QPassSignals:e;14;1e"), "OK");
  EXPECT_EQ(target.silent_signals, (std::vector<int>{SIGALRM, SIGCHLD, SIGUSR1}));
  EXPECT_EQ(client.ask("QPassSignals:"), "OK");
  EXPECT_EQ(target.silent_signals, std::vector<int>{});
}

// Interrupts

TEST_F(SessionTest, StopsWhenInterrupted) {
  target.registers_of_main().rip = FakeTarget::kForever.value;
  client.transport.interrupt_after = 5;
  EXPECT_THAT(client.ask("c"), StartsWith("T02"));
}

TEST_F(SessionTest, StopsWhenThereIsAnotherPacket) {
  target.registers_of_main().rip = FakeTarget::kForever.value;
  const auto replies = testing::packets_in(client.raw(framed("c") + framed("qC")));
  EXPECT_THAT(replies, ElementsAre(StartsWith("T02"), "QC111"));
}

TEST_F(SessionTest, TakesAnInterruptThatComesTooLateForTheNextResume) {
  EXPECT_EQ(client.raw("\x03$qC#b4"), "+$QC111#27");
  const size_t before = target.requests.size();
  EXPECT_THAT(client.ask("s"), StartsWith("T02"));
  EXPECT_EQ(target.requests.size(), before);
  EXPECT_THAT(client.ask("s"), StartsWith("T05"));
  EXPECT_EQ(target.requests.size(), before + 1);
}

TEST_F(SessionTest, IgnoresALateInterruptOfLldb) {
  client.ask("QThreadSuffixSupported");
  EXPECT_EQ(client.raw("\x03$qC#b4"), "+$QC111#27");
  EXPECT_THAT(client.ask("s"), StartsWith("T05"));
}

TEST_F(SessionTest, KeepsTheDirectionAfterAnInterruptedPacket) {
  const target::Stop interrupted{FakeTarget::kMain, target::Interrupted{}};
  target.next_stop = interrupted;
  client.ask("bc");
  client.ask("Z0,401007,1");
  client.ask("c");
  EXPECT_EQ(target.requests.back().direction, Direction::kBackward);
  // A register was read: a user saw that stop.
  target.next_stop = interrupted;
  client.ask("bc");
  client.ask("p10");
  client.ask("c");
  EXPECT_EQ(target.requests.back().direction, Direction::kForward);
  // vCont is never a continuation.
  target.next_stop = interrupted;
  client.ask("bc");
  client.ask("vCont;c");
  EXPECT_EQ(target.requests.back().direction, Direction::kForward);
  // Nor is a c that follows a stop of its own.
  client.ask("bc");
  client.ask("c");
  EXPECT_EQ(target.requests.back().direction, Direction::kForward);
}

// Threads

TEST_F(SessionTest, ListsThreads) {
  target.thread_list.push_back({FakeTarget::kOther, "<other>"});
  EXPECT_EQ(client.ask("qfThreadInfo"), "m111,222");
  EXPECT_EQ(client.ask("qsThreadInfo"), "l");
  connect_as_gdb();
  EXPECT_EQ(client.ask("qfThreadInfo"), "mp111.111,p111.222");
  EXPECT_THAT(client.ask("qXfer:threads:read::0,1000"),
              HasSubstr("<thread id=\"p111.222\" name=\"&lt;other&gt;\"/>"));
  EXPECT_EQ(client.ask("qC"), "QCp111.111");
  EXPECT_EQ(client.ask("Tp111.222"), "OK");
  EXPECT_EQ(client.ask("Tp111.333"), "E03");
  EXPECT_EQ(client.ask("Hgp111.333"), "E03");
  EXPECT_EQ(client.ask("qThreadExtraInfo,p111.222"), hex_of("<other>"));
  EXPECT_EQ(client.ask("qThreadExtraInfo,p111.333"), "E03");
}

TEST_F(SessionTest, StepsTheThreadThatTheUserLooksAt) {
  target.thread_list.push_back({FakeTarget::kOther, ""});
  client.ask("Hg222");
  client.ask("Hc-1");
  client.ask("bs");
  EXPECT_EQ(target.requests.back().thread, FakeTarget::kOther);
  client.ask("Hc222");
  client.ask("s");
  EXPECT_EQ(target.requests.back().thread, FakeTarget::kOther);
  client.ask("vCont;c:111;s:222");
  EXPECT_EQ(target.requests.back().thread, FakeTarget::kOther);
  EXPECT_EQ(target.requests.back().kind, ResumeKind::kStep);
}

// lldb

TEST_F(SessionTest, TellsLldbAllThreads) {
  target.thread_list.push_back({FakeTarget::kOther, "a\"b"});
  connect_as_lldb();
  const std::string stop = client.ask("vCont;s:111");
  EXPECT_THAT(stop, HasSubstr(";threads:111,222;thread-pcs:401007,401100;reason:trace;"));
  EXPECT_THAT(client.ask("qThreadStopInfo111"), HasSubstr("reason:trace;"));
  EXPECT_THAT(stop, HasSubstr(";thread:111;hexname:" + hex_of("main") + ";"));
  EXPECT_EQ(client.ask("qThreadStopInfo222"), "T00thread:222;hexname:" + hex_of("a\"b") + ";");
  EXPECT_EQ(client.ask("jThreadsInfo"),
            "[{\"tid\":273,\"signal\":5,\"reason\":\"trace\",\"name\":\"main\",\"registers\":{"
            "\"1\":\"0000000000000000\",\"6\":\"0009fe7f00000000\",\"7\":\"0008fe7f00000000\","
            "\"16\":\"0710400000000000\"}},"
            "{\"tid\":546,\"signal\":0,\"reason\":\"none\",\"name\":\"a\\\"b\",\"registers\":{"
            "\"1\":\"0000000000000000\",\"6\":\"0000000000000000\",\"7\":\"0000000000000000\","
            "\"16\":\"0011400000000000\"}}]");
}

TEST_F(SessionTest, TellsLldbOfHostAndProcess) {
  EXPECT_THAT(client.ask("qHostInfo"), HasSubstr("ptrsize:8;endian:little;ostype:linux;"));
  EXPECT_THAT(client.ask("qProcessInfo"), StartsWith("pid:111;"));
  EXPECT_THAT(client.ask("qGDBServerVersion"), StartsWith("name:rchk;"));
}

TEST_F(SessionTest, GoesBackInReverseMode) {
  connect_as_lldb();
  client.ask("vCont;s:111");
  EXPECT_EQ(monitor("reverse-mode on"), "");
  EXPECT_THAT(client.ask("vCont;s:111"), HasSubstr("10:0010400000000000;"));
  // lldb before 22 would resume forever at a reason that it does not know.
  EXPECT_THAT(
      client.ask("c"),
      EndsWith("reason:exception;description:" + hex_of("begin of the recorded history") + ";"));
  EXPECT_EQ(monitor("reverse-mode off"), "");
  EXPECT_THAT(client.ask("vCont;s:111"), HasSubstr("10:0710400000000000;"));
  EXPECT_EQ(monitor("reverse-mode maybe"), "reverse-mode: on or off\n");
}

TEST_F(SessionTest, AnInterruptEndsReverseMode) {
  connect_as_lldb();
  monitor("reverse-mode on");
  target.next_stop = target::Stop{FakeTarget::kMain, target::Interrupted{}};
  client.ask("c");
  client.ask("c");
  EXPECT_EQ(target.requests[0].direction, Direction::kBackward);
  EXPECT_EQ(target.requests[1].direction, Direction::kForward);
}

// Armed operations

TEST_F(SessionTest, ArmsOneStepBack) {
  client.ask("s");
  monitor("arm backward");
  client.ask("s");
  client.ask("s");
  EXPECT_EQ(target.requests[1].direction, Direction::kBackward);
  EXPECT_EQ(target.requests[2].direction, Direction::kForward);
}

TEST_F(SessionTest, ArmsAStepBackThroughARange) {
  for (int i = 0; i < 4; ++i) client.ask("s");
  monitor("arm range 0x40100a 401016");
  EXPECT_THAT(client.ask("bs"), HasSubstr("10:0710400000000000;"));
  EXPECT_EQ(target.requests.back().kind, ResumeKind::kRangeStep);
  EXPECT_EQ(target.requests.back().direction, Direction::kBackward);
  EXPECT_THAT(monitor("arm range 0x40100a"), StartsWith("arm: "));
  EXPECT_THAT(monitor("arm"), StartsWith("arm: "));
}

TEST_F(SessionTest, ReadsTheChosenThreadBehindAMove) {
  target.thread_list.push_back({FakeTarget::kOther, ""});
  client.ask("s");
  EXPECT_EQ(client.ask("Hg222"), "OK");
  EXPECT_EQ(client.ask("qRchkMoved"), "OK");
  monitor("seek 0");
  EXPECT_EQ(client.ask("p10"), "0011400000000000");
  EXPECT_EQ(client.ask("qRchkMoved"), "QC111");
  monitor("when");
  EXPECT_EQ(client.ask("qRchkMoved"), "OK");
}

TEST_F(SessionTest, StepsBackTheThreadThatWasAskedForLast) {
  target.thread_list.push_back({FakeTarget::kOther, ""});
  client.ask("s");
  client.ask("s");
  client.ask("Hc111");
  client.ask("bs");
  EXPECT_EQ(target.requests.back().thread, Tid{FakeTarget::kMain});
  EXPECT_EQ(client.ask("T222"), "OK");
  client.ask("Hc0");
  client.ask("bs");
  EXPECT_EQ(target.requests.back().thread, Tid{FakeTarget::kOther});
}

TEST_F(SessionTest, ArmsARefresh) {
  client.ask("s");
  monitor("seek 0");
  monitor("arm refresh");
  EXPECT_THAT(client.ask("s"), HasSubstr("10:0010400000000000;"));
  EXPECT_EQ(target.requests.size(), 1u);
}

// The rest

TEST_F(SessionTest, SurvivesDamagedPackets) {
  const std::vector<std::string> packets = {"g",
                                            "p10;thread:111;",
                                            "P3=0100000000000000",
                                            "m401000,10",
                                            "M402000,2:abcd",
                                            "x402000,4",
                                            "X402000,2:ab",
                                            "Z0,401012,1;X7,26000022031327",
                                            "z2,402000,8",
                                            "vCont;r401000,401010:p1.2;c",
                                            "C05;401000",
                                            "bs",
                                            "bc",
                                            "Hgp111.222",
                                            "qXfer:features:read:target.xml:0,ffb",
                                            "qXfer:siginfo:write::4:ab",
                                            "qSupported:multiprocess+;x",
                                            "vFile:open:2f,0,0",
                                            "vFile:pread:0,10,0",
                                            "qRcmd,61726d2072616e67652031203220",
                                            "QPassSignals:e;14",
                                            "QCatchSyscalls:1;0;e7",
                                            "qMemoryRegionInfo:401010",
                                            "_M10,rwx",
                                            "jThreadsInfo",
                                            "?",
                                            "QSaveRegisterState;thread:111;",
                                            "QRestoreRegisterState:1;",
                                            "qThreadStopInfo111"};
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string packet = packets[random() % packets.size()];
    for (size_t changes = random() % 4; changes > 0 && !packet.empty(); --changes) {
      constexpr std::string_view kSymbols = "0123456789abcdef:;,.-=Xxpzg\xff";
      const size_t at = random() % packet.size();
      switch (random() % 3) {
        case 0:
          packet[at] = kSymbols[random() % kSymbols.size()];
          break;
        case 1:
          packet.erase(at, 1 + random() % 3);
          break;
        default:
          packet.insert(at, 1, kSymbols[random() % kSymbols.size()]);
      }
    }
    target.next_stop = target.current_stop();
    const auto replies = client.exchange(packet);
    EXPECT_FALSE(replies.empty()) << packet;
    EXPECT_EQ(client.end(), SessionEnd::kDisconnected) << packet;
  }
}

TEST_F(SessionTest, RunsMonitorCommands) {
  EXPECT_EQ(monitor("when"), "did when\n");
  EXPECT_EQ(monitor("fail"), "it failed\n");
  EXPECT_THAT(monitor("help"), HasSubstr("reverse-mode"));
  target.offers_features = false;
  EXPECT_EQ(monitor("when"), "unknown command: when\n");
  EXPECT_THAT(monitor("help"), HasSubstr("reverse-mode"));
}

TEST_F(SessionTest, TransfersObjectsInParts) {
  const std::string whole = client.ask("qXfer:features:read:target.xml:0,ffff");
  ASSERT_THAT(whole, StartsWith("l<?xml"));
  std::string parts;
  for (;;) {
    const std::string part =
        client.ask(fmt::format("qXfer:features:read:target.xml:{:x},3e8", parts.size()));
    parts += part.substr(1);
    if (part.front() == 'l') break;
    ASSERT_EQ(part.size(), 1001u);
  }
  EXPECT_EQ(parts, whole.substr(1));
  EXPECT_EQ(client.ask("qXfer:features:read:target.xml:fffff,10"), "E16");
}

TEST_F(SessionTest, TransfersWhatTheTargetHas) {
  EXPECT_EQ(client.ask("qXfer:auxv:read::0,1000"), "l" + std::string(16, '\0'));
  EXPECT_EQ(client.ask("qXfer:exec-file:read:111:0,1000"), "l/no/such/program");
  EXPECT_EQ(client.ask("qXfer:siginfo:read::0,1000").size(), 129u);
  EXPECT_EQ(client.ask("qXfer:siginfo:write::4:ab"), "2");
  EXPECT_EQ(client.ask("qXfer:siginfo:read::4,2"), "mab");
  EXPECT_EQ(client.ask("qXfer:siginfo:write::7f:ab"), "E16");
  EXPECT_EQ(client.ask("qXfer:libraries-svr4:read::0,1000"),
            "l<library-list-svr4 version=\"1.0\" main-lm=\"0x1000\">\n"
            "<library name=\"/lib/a&amp;b.so\" lm=\"0x2000\" l_addr=\"0x3000\" l_ld=\"0x4000\"/>\n"
            "</library-list-svr4>\n");
}

TEST_F(SessionTest, NeverDeniesWhatItOffered) {
  target.siginfo_fails = true;
  EXPECT_EQ(client.ask("qXfer:siginfo:read::0,1000"), "E01");
  EXPECT_EQ(client.ask("qXfer:siginfo:write::0:x"), "E01");
  EXPECT_EQ(client.ask("Z2,402000,8"), "OK");
  target.insert_fails = true;
  EXPECT_EQ(client.ask("Z2,402000,8"), "E01");
  EXPECT_EQ(client.ask("Z4,402000,8"), "");
}

TEST_F(SessionTest, KillsAndDetaches) {
  EXPECT_EQ(client.ask("k"), "(nothing)");
  EXPECT_TRUE(target.killed);
  EXPECT_EQ(client.end(), SessionEnd::kKilled);
}

TEST_F(SessionTest, KillsForLldbWithAReply) {
  connect_as_lldb();
  EXPECT_EQ(client.ask("k"), "X09");
}

TEST_F(SessionTest, KillsTheProcessNamed) {
  EXPECT_EQ(client.ask("vKill;112"), "E03");
  EXPECT_FALSE(target.killed);
  EXPECT_EQ(client.ask("vKill;111"), "OK");
  EXPECT_TRUE(target.killed);
}

TEST_F(SessionTest, Detaches) {
  EXPECT_EQ(client.ask("D;111"), "OK");
  EXPECT_TRUE(target.detached);
  EXPECT_EQ(client.end(), SessionEnd::kDetached);
}

TEST_F(SessionTest, RunsAgainInExtendedMode) {
  client.ask("s");
  const auto replies = testing::packets_in(client.raw(
      framed("!") + framed("vKill;111") + framed("?") + framed("qfThreadInfo") + framed("vRun;")));
  EXPECT_THAT(replies, ElementsAre("OK", "OK", "W00", "l", StartsWith("T05")));
  EXPECT_FALSE(target.killed);
  EXPECT_EQ(target.position(), 0u);
}

TEST_F(SessionTest, KillsWhatIsNotRunAgain) {
  client.ask("!");
  EXPECT_EQ(client.ask("vKill;111"), "OK");
  EXPECT_TRUE(target.killed);
  EXPECT_EQ(client.end(), SessionEnd::kKilled);
}

}  // namespace
}  // namespace rchk::protocol
