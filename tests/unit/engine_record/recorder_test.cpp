#include "engine/record/recorder.h"

#include <csignal>
#include <cstring>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/syscalls/syscall.h"
#include "tests/unit/engine_record/guests.h"
#include "tests/unit/engine_record/session.h"

namespace rchk::record::test {
namespace {

using trace::ExitReason;
using trace::OutputStream;

trace::ExitEvent last_exit(Session& session) {
  const auto exits = session.events<trace::ExitEvent>();
  EXPECT_EQ(exits.size(), 1u);
  return exits.empty() ? trace::ExitEvent{} : exits.back();
}

TEST(Recorder, WritesTheImageFirst) {
  Session session("nothing");
  ASSERT_EQ(session.log().event_count(), 1u);
  const auto images = session.events<trace::ExecEvent>();
  ASSERT_EQ(images.size(), 1u);
  EXPECT_EQ(images[0].registers.rip, session.recorder().registers()->rip);
  EXPECT_FALSE(images[0].mappings.empty());
  EXPECT_FALSE(images[0].contents.empty());
  size_t vdsos = 0;
  for (const auto& mapping : images[0].mappings) {
    EXPECT_FALSE(mapping.name.starts_with("[vvar")) << mapping.name;
    EXPECT_NE(mapping.name, "[vsyscall]");
    vdsos += mapping.name == "[vdso]";
  }
  EXPECT_EQ(vdsos, 1u);
  EXPECT_NE(images[0].brk.value, 0u);
  EXPECT_EQ(images[0].pid, session.recorder().pid());
}

TEST(Recorder, RecordsTheExitStatus) {
  Session session("landmarks");
  const RecorderStop stop = session.run();
  EXPECT_EQ(stop.cause, StopCause::kExited);
  EXPECT_EQ(stop.status, 5);
  EXPECT_EQ(session.output(), "landmarks\n");
  const auto exit = last_exit(session);
  EXPECT_EQ(exit.reason, ExitReason::kExited);
  EXPECT_EQ(exit.status, 5);
  EXPECT_FALSE(exit.memory.empty());
  EXPECT_EQ(session.run().cause, StopCause::kExited);
  EXPECT_TRUE(session.messages().empty());
}

TEST(Recorder, NamesWhatReachedStandardOutput) {
  Session session("write_to_many_descriptors");
  session.run();
  EXPECT_EQ(session.output(), "ab");
  std::string out, error;
  for (const auto& call : session.events<trace::SyscallEvent>()) {
    const std::string bytes(call.output_bytes.begin(), call.output_bytes.end());
    if (call.output == OutputStream::kStdout) out += bytes;
    if (call.output == OutputStream::kStderr) error += bytes;
  }
  EXPECT_EQ(out, "a");
  EXPECT_EQ(error, "b");
}

TEST(Recorder, FollowsExecve) {
  Session session("exec");
  EXPECT_EQ(session.run().status, 0);
  EXPECT_EQ(session.output(), "other\n");
  EXPECT_EQ(session.events<trace::ExecEvent>().size(), 2u);
}

TEST(Recorder, AnswersTheTimeStampCounter) {
  for (const bool patched : {false, true}) {
    for (const char* guest : {"rdtsc", "rdtsc_blocked"}) {
      Session session(guest, patched);
      session.run();
      EXPECT_EQ(session.output(), guest == std::string("rdtsc") ? "later\n" : "blocked\n");
      EXPECT_GE(session.events<trace::TrapEvent>().size(), 1u);
    }
  }
  Session session("ask_about_the_tsc");
  session.run();
  EXPECT_EQ(session.output(), "enabled\n");
}

TEST(Recorder, RecordsChangesOfTheAddressSpace) {
  Session session("change_the_address_space");
  session.run();
  EXPECT_EQ(session.output(), "mapped\n");
  size_t kinds[std::variant_size_v<trace::AddressSpaceChange>] = {};
  for (const auto& call : session.events<trace::SyscallEvent>()) {
    for (const auto& change : call.changes) ++kinds[change.index()];
  }
  for (const size_t count : kinds) EXPECT_GT(count, 0u);
}

TEST(Recorder, KnowsFilesThatOthersHaveOpened) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const FileDescriptor own(ends[0]), given(ends[1]);
  char path[] = "/tmp/rchk-received-XXXXXX";
  const FileDescriptor file(mkostemp(path, O_CLOEXEC));
  ASSERT_TRUE(file.is_open());
  unlink(path);
  const std::string page(4096, 'a');
  ASSERT_EQ(write(file.get(), page.data(), page.size()), 4096);
  Session session("write_to_a_received_file", {"/proc/self/exe"}, given.get());
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int sent = file.get();
  std::memcpy(CMSG_DATA(header), &sent, sizeof(sent));
  ASSERT_EQ(sendmsg(own.get(), &message, 0), 1);
  EXPECT_EQ(session.run().status, 0);
  EXPECT_EQ(session.output(), "written\n");
  for (const auto& call : session.events<trace::SyscallEvent>()) {
    if (call.number != syscalls::nr::pwrite64) continue;
    // What the private mapping shows of it.
    ASSERT_EQ(call.writes.size(), 1u);
    EXPECT_EQ(std::string(call.writes[0].bytes.begin(), call.writes[0].bytes.end()), "received");
  }
}

TEST(RecorderSignals, AFaultIsSynchronous) {
  Session session("store_to_null");
  const RecorderStop stop = session.run();
  EXPECT_EQ(stop.cause, StopCause::kExited);
  EXPECT_EQ(stop.signal, SIGSEGV);
  const auto signals = session.events<trace::SignalEvent>();
  ASSERT_EQ(signals.size(), 1u);
  EXPECT_EQ(signals[0].place, trace::Place::kAtFault);
  EXPECT_TRUE(signals[0].fatal);
  EXPECT_EQ(last_exit(session).reason, ExitReason::kKilled);
}

TEST(RecorderSignals, ASignalToItselfComesAtTheEvent) {
  for (const char* guest : {"abort", "write_into_a_closed_pipe"}) {
    Session session(guest);
    EXPECT_EQ(session.run().signal, guest == std::string("abort") ? SIGABRT : SIGPIPE);
    const auto signals = session.events<trace::SignalEvent>();
    ASSERT_EQ(signals.size(), 1u);
    EXPECT_EQ(signals[0].place, trace::Place::kAtEvent) << guest;
    EXPECT_TRUE(signals[0].dirty.empty());
  }
}

TEST(RecorderSignals, ASignalInComputationHasItsState) {
  Session session("alarm_while_computing");
  EXPECT_EQ(session.run().signal, SIGALRM);
  const auto signals = session.events<trace::SignalEvent>();
  ASSERT_EQ(signals.size(), 1u);
  EXPECT_EQ(signals[0].place, trace::Place::kByState);
  EXPECT_FALSE(signals[0].extended_state.empty());
  EXPECT_FALSE(signals[0].dirty.empty());
}

TEST(RecorderSignals, ASignalEndsACall) {
  Session session("alarm_while_waiting");
  EXPECT_EQ(session.run().signal, SIGALRM);
  const auto signals = session.events<trace::SignalEvent>();
  ASSERT_EQ(signals.size(), 1u);
  EXPECT_EQ(signals[0].place, trace::Place::kAtEvent);
}

TEST(RecorderSignals, AnIgnoredSignalWakesNothing) {
  Session session("wait_with_ignored_signals");
  session.run();
  EXPECT_EQ(session.output(), "timeout\n");
  EXPECT_TRUE(session.events<trace::SignalEvent>().empty());
}

TEST(RecorderSignals, SigkillIsRecorded) {
  Session session("spin");
  RunLimits soon;
  soon.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  EXPECT_EQ(session.run(soon).cause, StopCause::kInterrupted);
  kill(session.recorder().pid(), SIGKILL);
  const RecorderStop stop = session.run();
  EXPECT_EQ(stop.cause, StopCause::kExited);
  EXPECT_EQ(stop.signal, SIGKILL);
  EXPECT_EQ(last_exit(session).reason, ExitReason::kKilled);
}

TEST(RecorderHandlers, ShowWhatTheKernelPushed) {
  Session session("handle_a_signal");
  const RecorderStop stop = session.run();
  EXPECT_EQ(stop.status, 9);
  EXPECT_EQ(session.output(), "handled\nend\n");
  const auto signals = session.events<trace::SignalEvent>();
  ASSERT_EQ(signals.size(), 1u);
  EXPECT_EQ(signals[0].place, trace::Place::kAtEvent);
  ASSERT_TRUE(signals[0].handler);
  ASSERT_EQ(signals[0].handler->frame.size(), 1u);
  const trace::MemoryWrite& frame = signals[0].handler->frame[0];
  EXPECT_EQ(frame.address.value, signals[0].handler->registers.rsp);
  EXPECT_LE(frame.address + frame.bytes.size(), GuestAddress{signals[0].registers.rsp});
  uint64_t returns = 0;
  for (const auto& call : session.events<trace::SyscallEvent>()) {
    if (call.extended_state.empty()) continue;
    ++returns;
    EXPECT_EQ(call.after.rip, signals[0].registers.rip);
    EXPECT_EQ(call.after.rsp, signals[0].registers.rsp);
  }
  EXPECT_EQ(returns, 1u);
}

TEST(RecorderHandlers, ComeByStateInAComputation) {
  Session session("handle_an_alarm_while_computing");
  const RecorderStop stop = session.run();
  EXPECT_EQ(stop.status, 0);
  const auto signals = session.events<trace::SignalEvent>();
  ASSERT_EQ(signals.size(), 3u);
  for (const trace::SignalEvent& signal : signals) {
    EXPECT_EQ(signal.place, trace::Place::kByState);
    EXPECT_FALSE(signal.dirty.empty());
    EXPECT_FALSE(signal.extended_state.empty());
  }
  // The second one has a reference to compare with.
  EXPECT_LT(signals[1].dirty.size(), signals[0].dirty.size());
}

TEST(RecorderHandlers, StopADebuggerFirst) {
  Session session("handle_a_signal");
  RunLimits limits;
  limits.stop_at_signals = true;
  const RecorderStop stop = session.run(limits);
  EXPECT_EQ(stop.cause, StopCause::kSignal);
  EXPECT_EQ(stop.signal, SIGUSR1);
  EXPECT_TRUE(session.events<trace::SignalEvent>().empty());
  EXPECT_EQ(session.run(limits).cause, StopCause::kExited);
  EXPECT_EQ(session.output(), "handled\nend\n");

  Session quiet("handle_a_signal");
  limits.quiet_signals = uint64_t{1} << (SIGUSR1 - 1);
  EXPECT_EQ(quiet.run(limits).cause, StopCause::kExited);
  EXPECT_EQ(quiet.output(), "handled\nend\n");
}

TEST(RecorderTasks, AChildHasASpaceOfItsOwn) {
  Session session("make_a_child");
  EXPECT_EQ(session.run().status, 4);
  EXPECT_EQ(session.output(), "child\nparent\n");
  const auto spawns = session.events<trace::SpawnEvent>();
  ASSERT_EQ(spawns.size(), 1u);
  EXPECT_EQ(spawns[0].kind, trace::SpawnKind::kFork);
  EXPECT_EQ(spawns[0].registers.rax, 0u);
  const auto exits = session.events<trace::ExitEvent>();
  ASSERT_EQ(exits.size(), 2u);
  EXPECT_EQ(exits[0].status, 3);
  EXPECT_EQ(exits[1].status, 4);
  EXPECT_FALSE(exits[0].memory.empty());
}

TEST(RecorderTasks, ThreadsTakeTurns) {
  Session session("two_threads_spin");
  EXPECT_EQ(session.run().status, 0);
  EXPECT_EQ(session.output(), "end\n");
  const auto spawns = session.events<trace::SpawnEvent>();
  ASSERT_EQ(spawns.size(), 1u);
  EXPECT_EQ(spawns[0].kind, trace::SpawnKind::kThread);
  EXPECT_EQ(session.events<trace::TaskEndEvent>().size(), 1u);
  bool by_state = false;
  for (const auto& change : session.events<trace::SwitchEvent>()) {
    by_state = by_state || change.place == trace::Place::kByState;
  }
  EXPECT_TRUE(by_state);
}

struct Unrecordable {
  const char* guest;
  const char* word;
  const char* output;
  int status;
};

class RecorderStops : public testing::TestWithParam<Unrecordable> {};

// Whether INT 0x80 makes a call; under some hypervisors it raises SIGSEGV.
bool has_calls_in_32_bits() {
  const pid_t child = fork();
  if (child == 0) {
    long result = 20;  // getpid
    asm volatile("int $0x80" : "+a"(result)::"memory");
    _exit(result > 0 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_P(RecorderStops, AndTheGuestGoesOn) {
  if (GetParam().guest == std::string("call_in_32_bits") && !has_calls_in_32_bits()) {
    GTEST_SKIP() << "INT 0x80 raises a signal here";
  }
  Session session(GetParam().guest);
  const RecorderStop stop = session.run();
  EXPECT_EQ(stop.cause, StopCause::kRecordingStopped);
  EXPECT_NE(stop.message.find(GetParam().word), std::string::npos) << stop.message;
  const auto end = session.recorder().wait_for_guest();
  ASSERT_TRUE(end) << end.error().message();
  EXPECT_EQ(end->kind, tracee::StopStatus::Kind::kExited);
  EXPECT_EQ(end->value, GetParam().status);
  EXPECT_EQ(session.output(), GetParam().output);
  const auto exit = last_exit(session);
  EXPECT_EQ(exit.reason, ExitReason::kRecorderStopped);
  EXPECT_EQ(exit.place, session.events<trace::SignalEvent>().empty() ? trace::ExitPlace::kAtCall
                                                                     : trace::ExitPlace::kAtEvent);
  EXPECT_FALSE(exit.memory.empty());
  EXPECT_EQ(session.messages().size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Guests, RecorderStops,
                         testing::Values(Unrecordable{"call_in_32_bits", "int 0x80", "pid\n", 0}),
                         [](const auto& param) { return std::string(param.param.guest); });

TEST(RecorderStart, NamesAProgramThatIsNotThere) {
  RecorderOptions options;
  options.program.arguments = {"/no/such/program"};
  trace::EventLog log({});
  const auto recorder = Recorder::start(options, log);
  ASSERT_FALSE(recorder);
  EXPECT_EQ(recorder.error().kind, ErrorKind::kMisuse);
  EXPECT_EQ(recorder.error().errno_value, ENOENT);
}

}  // namespace
}  // namespace rchk::record::test
