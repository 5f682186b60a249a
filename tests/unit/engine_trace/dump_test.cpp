#include "engine/trace/dump.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "random_event.h"

namespace rchk::trace {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

SyscallEvent read_event() {
  SyscallEvent event;
  event.number = 0;
  event.before.rdi = 3;
  event.before.rsi = 0x7fffffffe000;
  event.before.rdx = 832;
  event.after = event.before;
  event.after.rax = 832;
  event.writes = {{{0x7fffffffe000}, Bytes(832, 'x')}};
  return event;
}

TEST(Dump, ShowsASystemCallInOneLine) {
  EXPECT_EQ(describe({12}, {1'002'000'003, read_event(), {345}}),
            "     12    1.002000003     345 syscall 0(3, 0x7fffffffe000, 832, 0, 0, 0) = 832; "
            "wrote 832 bytes");
}

TEST(Dump, NamesSystemCallsIfItIsToldHow) {
  const auto namer = [](int number) { return number == 0 ? "read" : "?"; };
  EXPECT_THAT(describe({12}, {0, read_event()}, namer), HasSubstr(" read(3, "));
}

TEST(Dump, NamesErrors) {
  SyscallEvent event = read_event();
  event.after.rax = static_cast<uint64_t>(-2);
  EXPECT_THAT(describe({0}, {0, event}), HasSubstr("= -2 ENOENT"));
}

TEST(Dump, ShowsChangesOfTheAddressSpace) {
  SyscallEvent event;
  Mapping mapping;
  mapping.range = {{0x1000}, {0x3000}};
  mapping.protection = 5;
  mapping.backing = FileBacking{{2}, 0x4000};
  mapping.name = "/lib/x";
  event.changes = {MapChange{mapping}, UnmapChange{{{0x5000}, {0x6000}}}};
  EXPECT_THAT(describe({0}, {0, event}),
              AllOf(HasSubstr("map 0x1000-0x3000 r-xp file 2 at 0x4000 \"/lib/x\""),
                    HasSubstr("unmap 0x5000-0x6000")));
}

TEST(Dump, LetsNoRecordedTextSteerATerminal) {
  SyscallEvent event;
  event.output = OutputStream::kStdout;
  event.output_bytes = {0x1b, '[', '2', 'J', '\n', '"'};
  EXPECT_THAT(describe({0}, {0, event}), HasSubstr(R"(stdout "\x1b[2J\n\"")"));
}

TEST(Dump, DescribesEveryKindOnOneLineAndInDetail) {
  RandomEvents random(11);
  for (uint64_t i = 0; i < 600; ++i) {
    const Event event{i, random.body(i % std::variant_size_v<EventBody>)};
    const std::string line = describe({i}, event);
    EXPECT_THAT(line, Not(HasSubstr("\n")));
    const std::string detail = describe_in_detail({i}, event);
    EXPECT_TRUE(detail.starts_with(line + "\n"));
    EXPECT_EQ(detail.back(), '\n');
    EXPECT_TRUE(std::all_of(detail.begin(), detail.end(), [](char letter) {
      return letter == '\n' || (letter >= 32 && letter < 127);
    }));
  }
}

TEST(Dump, TellsSignalsAndExitsApart) {
  SignalEvent signal;
  signal.number = 11;
  signal.place = Place::kAtFault;
  signal.fatal = true;
  signal.registers.rip = 0x401000;
  EXPECT_THAT(describe({0}, {0, signal}), HasSubstr("SIGSEGV at 0x401000, synchronous, fatal"));
  ExitEvent exit;
  exit.status = 3;
  EXPECT_THAT(describe({0}, {0, exit}), HasSubstr("exit, status 3"));
  exit.reason = ExitReason::kKilled;
  exit.status = 9;
  EXPECT_THAT(describe({0}, {0, exit}), HasSubstr("killed by SIGKILL"));
}

}  // namespace
}  // namespace rchk::trace
