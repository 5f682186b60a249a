#include "gdbserver/protocol/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gdbserver/protocol/signals.h"

namespace rchk::protocol {
namespace {

using target::StopPointKind;

TEST(ParseThreadId, TakesAllForms) {
  EXPECT_EQ(parse_thread_id("1f"), (ThreadId{0, 0x1f}));
  EXPECT_EQ(parse_thread_id("p2.3"), (ThreadId{2, 3}));
  EXPECT_EQ(parse_thread_id("p2"), (ThreadId{2, -1}));
  EXPECT_EQ(parse_thread_id("p2.-1"), (ThreadId{2, -1}));
  EXPECT_EQ(parse_thread_id("p-1.-1"), (ThreadId{-1, -1}));
  EXPECT_EQ(parse_thread_id("-1"), (ThreadId{0, -1}));
  EXPECT_EQ(parse_thread_id("0"), (ThreadId{0, 0}));
  EXPECT_EQ(parse_thread_id("p2.3")->single(), Tid{3});
  EXPECT_EQ(parse_thread_id("-1")->single(), std::nullopt);
}

TEST(ParseThreadId, RefusesAllElse) {
  for (const char* text : {"", "p", "p.", "p1.", "x", "1x", "-2", "p1.2.3", "80000000", "p1x2"}) {
    EXPECT_FALSE(parse_thread_id(text)) << text;
  }
}

TEST(ParseMemoryRange, TakesAddressAndLength) {
  EXPECT_EQ(parse_memory_range("10,20"), range_of(GuestAddress{0x10}, 0x20));
  for (const char* text :
       {"", "10", "10,", ",10", "10,20,", "10;20", "g,1", "ffffffffffffffff,2"}) {
    EXPECT_FALSE(parse_memory_range(text)) << text;
  }
}

TEST(ParseContents, ChecksTheLength) {
  EXPECT_EQ(parse_hex_contents("10,2:abcd")->bytes, (Bytes{0xab, 0xcd}));
  EXPECT_EQ(parse_binary_contents("10,2:ab")->bytes, (Bytes{'a', 'b'}));
  EXPECT_TRUE(parse_binary_contents("10,0:"));
  for (const char* text : {"10,2:ab", "10,2:abcdef", "10,2", "10,1:xy", "10"}) {
    EXPECT_FALSE(parse_hex_contents(text)) << text;
  }
  for (const char* text : {"10,2:a", "10,2:abc", "10,2"}) {
    EXPECT_FALSE(parse_binary_contents(text)) << text;
  }
}

TEST(ParseStopPoint, TakesAllKinds) {
  const auto breakpoint = parse_stop_point("0,401000,1");
  ASSERT_TRUE(breakpoint);
  EXPECT_EQ(breakpoint->point.kind, StopPointKind::kSoftwareBreakpoint);
  EXPECT_EQ(breakpoint->point.range, range_of(GuestAddress{0x401000}, 1));
  const auto watchpoint = parse_stop_point("2,402000,c8");
  ASSERT_TRUE(watchpoint);
  EXPECT_EQ(watchpoint->point.kind, StopPointKind::kWriteWatchpoint);
  EXPECT_EQ(watchpoint->point.range.size(), 200u);
  EXPECT_EQ(parse_stop_point("4,1,8")->point.kind, StopPointKind::kAccessWatchpoint);
  EXPECT_FALSE(parse_stop_point("5,1,8")->known_type);
}

TEST(ParseStopPoint, TakesConditions) {
  EXPECT_EQ(parse_stop_point("0,1,1;X3,220127")->point.conditions.size(), 1u);
  EXPECT_EQ(parse_stop_point("0,1,1;X3,220127X3,220027")->point.conditions.size(), 2u);
  EXPECT_EQ(parse_stop_point("0,1,1;X3,220127;X3,220027")->point.conditions.size(), 2u);
}

TEST(ParseStopPoint, RefusesAllElse) {
  for (const char* text : {"", "0", "0,1", "0,1,", "x,1,1", "2,1,0", "0,1,1;Y", "0,1,1;X3,2201",
                           "0,1,1;X3220127", "0,1,1;X3,2201zz", "0,1,1;Xffffffffffffffff,22"}) {
    EXPECT_FALSE(parse_stop_point(text)) << text;
  }
}

TEST(ParseResumeActions, TakesAllKinds) {
  using Kind = ResumeAction::Kind;
  const auto actions = parse_resume_actions("r401000,401010:p1.2;S05:3;C0b;s;t:p1.-1;c:p1.-1");
  ASSERT_TRUE(actions);
  ASSERT_EQ(actions->size(), 6u);
  EXPECT_EQ((*actions)[0].kind, Kind::kRangeStep);
  EXPECT_EQ((*actions)[0].range, (AddressRange{GuestAddress{0x401000}, GuestAddress{0x401010}}));
  EXPECT_EQ((*actions)[0].thread.single(), Tid{2});
  EXPECT_EQ((*actions)[1].kind, Kind::kStep);
  EXPECT_EQ((*actions)[1].signal, 5);
  EXPECT_EQ((*actions)[2].kind, Kind::kContinue);
  EXPECT_EQ((*actions)[2].signal, 11);
  EXPECT_EQ((*actions)[3].thread.single(), std::nullopt);
  EXPECT_EQ((*actions)[4].kind, Kind::kStop);
  EXPECT_EQ((*actions)[5].kind, Kind::kContinue);
}

TEST(ParseResumeActions, RefusesAllElse) {
  for (const char* text :
       {"", "x", "c:", "c:x", "C", "Cxyz", "C100", "r1", "r1,", "cc", "s1", ";c", "c;;s"}) {
    EXPECT_FALSE(parse_resume_actions(text)) << text;
  }
}

TEST(ParseResumeArguments, TakesSignalAndAddress) {
  EXPECT_EQ(parse_resume_arguments("", false)->address, std::nullopt);
  EXPECT_EQ(parse_resume_arguments("12", false)->address, GuestAddress{0x12});
  EXPECT_EQ(parse_resume_arguments("0b", true)->signal, 11);
  EXPECT_EQ(parse_resume_arguments("0b;12", true)->address, GuestAddress{0x12});
  EXPECT_FALSE(parse_resume_arguments("", true));
  EXPECT_FALSE(parse_resume_arguments("0b12;", true));
  EXPECT_FALSE(parse_resume_arguments("x", false));
  EXPECT_FALSE(parse_resume_arguments("1;2", false));
}

TEST(ParseTransfer, TakesBothDirections) {
  const auto read = parse_transfer("features:read:target.xml:10,ffb");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->object, "features");
  EXPECT_EQ(read->annex, "target.xml");
  EXPECT_EQ(read->offset, 0x10u);
  EXPECT_EQ(read->length, 0xffbu);
  const auto write = parse_transfer("siginfo:write::4:ab:cd");
  ASSERT_TRUE(write);
  EXPECT_TRUE(write->write);
  EXPECT_EQ(write->data, "ab:cd");
  for (const char* text : {"", "auxv", "auxv:read", "auxv:read::", "auxv:read::0", "auxv:read::0,",
                           "auxv:read::0,1x", "auxv:steal::0,1", "siginfo:write::4"}) {
    EXPECT_FALSE(parse_transfer(text)) << text;
  }
}

TEST(TakeThreadSuffix, CutsIt) {
  std::optional<ThreadId> thread;
  std::string_view text = "1f;thread:22;";
  EXPECT_TRUE(take_thread_suffix(text, thread));
  EXPECT_EQ(text, "1f");
  EXPECT_EQ(thread, (ThreadId{0, 0x22}));
  // Behind a name that the semicolon ended.
  text = "thread:22;";
  EXPECT_TRUE(take_thread_suffix(text, thread));
  EXPECT_EQ(text, "");
  thread.reset();
  text = "1f";
  EXPECT_TRUE(take_thread_suffix(text, thread));
  EXPECT_FALSE(thread);
  text = "1f;thread:xyz;";
  EXPECT_FALSE(take_thread_suffix(text, thread));
}

TEST(Signals, GoForthAndBack) {
  for (int linux_signal = 0; linux_signal <= 64; ++linux_signal) {
    if (linux_signal == 16) continue;  // SIGSTKFLT: gdb has no number for it
    EXPECT_EQ(linux_signal_of(gdb_signal_of(linux_signal)), linux_signal);
  }
  EXPECT_EQ(gdb_signal_of(16), 143);
  EXPECT_EQ(gdb_signal_of(200), 143);
  EXPECT_EQ(linux_signal_of(143), 0);
}

TEST(Signals, KnowWhereTheNumbersDiffer) {
  EXPECT_EQ(gdb_signal_of(7), 10);   // SIGBUS
  EXPECT_EQ(gdb_signal_of(10), 30);  // SIGUSR1
  EXPECT_EQ(gdb_signal_of(17), 20);  // SIGCHLD
  EXPECT_EQ(gdb_signal_of(33), 45);
  EXPECT_EQ(gdb_signal_of(63), 75);
}

}  // namespace
}  // namespace rchk::protocol
