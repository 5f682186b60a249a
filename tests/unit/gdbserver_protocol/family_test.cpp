// Sessions of several processes: which one a packet is about.

#include <algorithm>
#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_client.h"
#include "fake_target.h"

namespace rchk::protocol {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using testing::FakeClient;
using testing::FakeTarget;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr Tid kParent = FakeTarget::kMain, kChild{0x333};

// Two processes; the second one is there once its fork was reported.
class FakeFamily final : public target::Family {
 public:
  FakeFamily() {
    parent.family_of_it = this;
    child.family_of_it = this;
    child.pid = kChild;
    child.thread_list = {{kChild, "child"}};
  }

  void report_forks(bool forks, bool vforks) override {
    reports_forks = forks;
    reports_vforks = vforks;
  }
  std::vector<Tid> processes() override { return pids; }
  target::Target* process(Tid pid) override {
    if (!has(pid)) return nullptr;
    if (pid == kChild) ++times_opened;
    return pid == kChild ? &child : &parent;
  }
  std::vector<target::ThreadInfo> threads(Tid pid) override {
    return pid == kChild ? child.thread_list : parent.thread_list;
  }
  target::StopPointHolder* stop_points(Tid pid) override {
    if (!has(pid)) return nullptr;
    return pid == kChild ? &child : &parent;
  }
  Result<void> detach(Tid pid) override {
    std::erase(pids, pid);
    return {};
  }
  Result<target::Target*> attach_again(Tid pid) override {
    pids.push_back(pid);
    return process(pid);
  }
  Result<target::Stop> resume(const Request& request, target::RunControl&) override {
    requests.push_back(request);
    for (const Tid pid : attached_by_resume) pids.push_back(pid);
    attached_by_resume.clear();
    return next_stop;
  }

  FakeTarget parent, child;
  bool reports_forks = false, reports_vforks = false;
  int times_opened = 0;
  std::vector<Tid> pids = {kParent};
  std::vector<Tid> attached_by_resume;
  std::vector<Request> requests;
  target::Stop next_stop{kParent, target::StepDone{}, kParent};

 private:
  bool has(Tid pid) const { return std::find(pids.begin(), pids.end(), pid) != pids.end(); }
};

class FamilyTest : public ::testing::Test {
 protected:
  void connect() {
    client.ask("qSupported:multiprocess+;swbreak+;fork-events+;vfork-events+;exec-events+");
  }
  void fork() {
    connect();
    family.next_stop = {kParent, target::Forked{kChild, false}, kParent};
    family.attached_by_resume = {kChild};
    client.ask("vCont;c:p111.-1");
    family.next_stop = {kParent, target::StepDone{}, kParent};
  }

  FakeFamily family;
  FakeClient client{family.parent};
};

TEST_F(FamilyTest, OffersForkEventsToThoseWhoKnowThem) {
  EXPECT_THAT(client.ask("qSupported:multiprocess+;fork-events+;vfork-events+;exec-events+"),
              HasSubstr(";fork-events+;vfork-events+"));
  EXPECT_TRUE(family.reports_forks);
  EXPECT_TRUE(family.reports_vforks);
}

TEST_F(FamilyTest, OffersNothingToOthers) {
  EXPECT_THAT(client.ask("qSupported:swbreak+;fork-events+;exec-events+"),
              Not(HasSubstr("fork-events")));
  EXPECT_FALSE(family.reports_forks);
}

// As lldb 22 connects.
TEST_F(FamilyTest, OffersNothingToLldb) {
  EXPECT_THAT(client.ask("qSupported:multiprocess+;fork-events+;vfork-events+;swbreak+"),
              Not(HasSubstr("fork-events")));
  EXPECT_FALSE(family.reports_forks);
  connect();
  EXPECT_TRUE(family.reports_forks);
  client.ask("QThreadSuffixSupported");
  EXPECT_FALSE(family.reports_forks);
  EXPECT_FALSE(family.reports_vforks);
}

TEST_F(FamilyTest, ReportsForks) {
  connect();
  family.next_stop = {kParent, target::Forked{kChild, false}, kParent};
  EXPECT_THAT(client.ask("vCont;c:p111.-1"), EndsWith("thread:p111.111;fork:p333.333;"));
  family.next_stop = {kParent, target::Forked{kChild, true}, kParent};
  EXPECT_THAT(client.ask("vCont;c:p111.-1"), EndsWith("thread:p111.111;vfork:p333.333;"));
  family.next_stop = {kParent, target::VforkDone{}, kParent};
  EXPECT_THAT(client.ask("vCont;c:p111.111"), EndsWith("thread:p111.111;vforkdone:;"));
}

// gdb takes the breakpoints out of a child that it lets go.
TEST_F(FamilyTest, DetachesAChildWithoutOpeningIt) {
  fork();
  EXPECT_EQ(client.ask("Hgp333.333"), "OK");
  EXPECT_EQ(client.ask("Z0,401007,1"), "OK");
  EXPECT_EQ(family.child.points.size(), 1u);
  EXPECT_EQ(client.ask("z0,401007,1"), "OK");
  EXPECT_THAT(family.child.points, IsEmpty());
  EXPECT_EQ(client.ask("Hgp111.111"), "OK");
  EXPECT_EQ(client.ask("D;333"), "OK");
  EXPECT_EQ(family.times_opened, 0);
  EXPECT_THAT(family.pids, ElementsAre(kParent));
  EXPECT_EQ(client.ask("Hgp333.333"), "E03");
  EXPECT_EQ(client.ask("qC"), "QCp111.111");
}

TEST_F(FamilyTest, GoesOnWithTheChildAlone) {
  fork();
  EXPECT_EQ(client.ask("D;111"), "OK");
  EXPECT_EQ(client.end(), SessionEnd::kDisconnected);
  EXPECT_EQ(client.ask("qC"), "QCp333.333");
  EXPECT_EQ(client.ask("qfThreadInfo"), "mp333.333");
  EXPECT_EQ(client.ask("D;333"), "OK");
  EXPECT_EQ(client.end(), SessionEnd::kDetached);
  EXPECT_TRUE(family.parent.detached);
}

TEST_F(FamilyTest, ReadsAndWritesTheProcessThatHgNames) {
  fork();
  family.child.registers_of_main().rax = 0x1234;
  client.ask("Hgp333.333");
  EXPECT_EQ(client.ask("p0"), "3412000000000000");
  EXPECT_EQ(client.ask("M402000,1:77"), "OK");
  EXPECT_EQ(client.ask("m402000,1"), "77");
  client.ask("Hgp111.111");
  EXPECT_EQ(client.ask("p0"), "0000000000000000");
  EXPECT_EQ(client.ask("m402000,1"), "00");
  EXPECT_EQ(client.ask("Hgp333.111"), "E03");
  EXPECT_EQ(client.ask("Hgp444.444"), "E03");
}

TEST_F(FamilyTest, ListsTheThreadsOfAll) {
  fork();
  EXPECT_EQ(client.ask("qfThreadInfo"), "mp111.111,p333.333");
  EXPECT_THAT(client.ask("qXfer:threads:read::0,1000"),
              HasSubstr("id=\"p333.333\" name=\"child\""));
  EXPECT_EQ(client.ask("Tp333.333"), "OK");
  EXPECT_EQ(client.ask("Tp333.111"), "E03");
  EXPECT_EQ(client.ask("qThreadExtraInfo,p333.333"), "6368696c64");
  EXPECT_EQ(client.ask("qXfer:exec-file:read:333:0,1000"), "l/no/such/program");
  EXPECT_EQ(client.ask("qXfer:exec-file:read:444:0,1000"), "E01");
}

TEST_F(FamilyTest, RunsTheProcessesThatVContNames) {
  fork();
  client.ask("vCont;c:p333.-1");
  EXPECT_THAT(family.requests.back().pids, ElementsAre(kChild));
  client.ask("vCont;s:p333.333");
  EXPECT_EQ(family.requests.back().stepped, kChild);
  EXPECT_EQ(family.requests.back().run.thread, kChild);
  client.ask("vCont;s:p111.111;c:p111.-1");
  EXPECT_EQ(family.requests.back().stepped, kParent);
  client.ask("vCont;c");
  EXPECT_THAT(family.requests.back().pids, ElementsAre(kParent, kChild));
  client.ask("vCont;c:p-1.-1");
  EXPECT_THAT(family.requests.back().pids, ElementsAre(kParent, kChild));
  EXPECT_EQ(client.ask("vCont;c:p444.-1"), "E03");
}

TEST_F(FamilyTest, GoesBackInTheProcessThatHcNames) {
  fork();
  client.ask("Hcp333.-1");
  client.ask("bc");
  EXPECT_THAT(family.requests.back().pids, ElementsAre(kChild));
  EXPECT_EQ(family.requests.back().run.direction, target::Direction::kBackward);
  client.ask("Hcp333.333");
  client.ask("bs");
  EXPECT_EQ(family.requests.back().stepped, kChild);
  EXPECT_EQ(family.requests.back().run.thread, kChild);
  client.ask("Hc0");
  client.ask("bc");
  EXPECT_THAT(family.requests.back().pids, ElementsAre(kParent, kChild));
}

TEST_F(FamilyTest, AStopMakesItsProcessTheCurrentOne) {
  fork();
  family.child.registers_of_main().rip = 0x401234;
  family.next_stop = {kChild, target::StepDone{}, kChild};
  EXPECT_THAT(client.ask("vCont;c"), HasSubstr("10:3412400000000000;thread:p333.333;"));
  EXPECT_EQ(client.ask("qC"), "QCp333.333");
}

TEST_F(FamilyTest, SignalsAreSilentInAllAndSystemCallsCaughtInOne) {
  fork();
  EXPECT_EQ(client.ask("QPassSignals:e"), "OK");
  EXPECT_THAT(family.parent.silent_signals, ElementsAre(SIGALRM));
  EXPECT_THAT(family.child.silent_signals, ElementsAre(SIGALRM));
  client.ask("Hgp333.333");
  EXPECT_EQ(client.ask("QCatchSyscalls:1;1"), "OK");
  EXPECT_FALSE(family.parent.caught_syscalls);
  EXPECT_TRUE(family.child.caught_syscalls);
}

TEST_F(FamilyTest, KillsOneOfThem) {
  fork();
  EXPECT_EQ(client.ask("vKill;333"), "OK");
  EXPECT_EQ(client.end(), SessionEnd::kDisconnected);
  EXPECT_THAT(family.pids, ElementsAre(kParent));
  EXPECT_EQ(client.ask("vKill;333"), "E03");
  EXPECT_EQ(client.ask("vKill;111"), "OK");
  EXPECT_EQ(client.end(), SessionEnd::kKilled);
}

TEST_F(FamilyTest, RunsTheOneAgainThatWasKilled) {
  fork();
  client.ask("!");
  EXPECT_EQ(client.ask("vKill;111"), "OK");
  EXPECT_EQ(client.ask("qC"), "QCp333.333");
  EXPECT_THAT(client.ask("vRun;"), HasSubstr("thread:p111.111;"));
  EXPECT_THAT(family.pids, ElementsAre(kChild, kParent));
}

TEST_F(FamilyTest, RefusesMalformedPids) {
  fork();
  for (const char* packet : {"D;x", "D;1ffffffff", "vKill;1ffffffff"}) {
    EXPECT_EQ(client.ask(packet), "E16") << packet;
  }
  EXPECT_EQ(client.ask("D;444"), "E03");
}

}  // namespace
}  // namespace rchk::protocol
