// The table against the kernel: programs run under ptrace, and every byte of writable memory and
// every mapping that a call changed must be among what the table says.

#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/syscalls/syscall.h"
#include "tests/unit/engine_syscalls/exotic_calls.h"
#include "tests/unit/engine_syscalls/ptrace_run.h"

namespace rchk::syscalls::test {
namespace {

void expect_clean(const RunReport& report) {
  for (const std::string& failure : report.failures) ADD_FAILURE() << failure;
  for (const std::string& doubt : report.doubts) ADD_FAILURE() << "doubt: " << doubt;
  EXPECT_EQ(report.exit_status, 0);
  uint64_t calls = 0;
  for (const auto& [number, count] : report.calls) calls += count;
  fmt::print("{} calls of {} kinds, {} bytes changed, {} named\n", calls, report.calls.size(),
             report.changed_bytes, report.named_bytes);
  EXPECT_GT(calls, 10u);
}

bool have_program(const char* path) { return access(path, X_OK) == 0; }

TEST(Kernel, ListingFiles) { expect_clean(run_program_checked({"ls", "-la", "--color", "/usr"})); }

TEST(Kernel, ShellWithPipes) {
  expect_clean(run_program_checked({"sh", "-c", "echo hello | wc -c; cat /proc/self/status"}));
}

TEST(Kernel, Python) {
  if (!have_program("/usr/bin/python3")) GTEST_SKIP() << "no /usr/bin/python3";
  const char* script =
      "import os, socket, select, tempfile, time, signal, resource, mmap\n"
      "a, b = socket.socketpair()\n"
      "a.send(b'hello'); select.select([b], [], [], 1); b.recv(3); b.recv(100)\n"
      "p = select.epoll(); p.register(a, select.EPOLLOUT); p.poll(1)\n"
      "f = tempfile.TemporaryFile(); f.write(b'x' * 100000); f.seek(0); f.read()\n"
      "m = mmap.mmap(-1, 1 << 20); m.resize(1 << 21); m.close()\n"
      "x = bytearray(8 << 20); del x\n"
      "time.sleep(0.001); os.listdir('/etc'); resource.getrusage(0)\n"
      "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); s.getsockname()\n"
      "c = socket.create_connection(s.getsockname()); d, _ = s.accept(); c.getpeername()\n";
  expect_clean(run_program_checked({"/usr/bin/python3", "-c", script}));
}

TEST(Kernel, Sqlite) {
  if (!have_program("/usr/bin/sqlite3")) GTEST_SKIP() << "no /usr/bin/sqlite3";
  const std::string path = fmt::format("{}/rchk-syscalls-{}.db", ::testing::TempDir(), getpid());
  expect_clean(run_program_checked(
      {"/usr/bin/sqlite3", path,
       "create table t(a, b); insert into t select value, hex(randomblob(50)) from "
       "(with recursive c(value) as (select 1 union all select value+1 from c limit 2000) "
       "select value from c); create index i on t(b); select count(*) from t where b > '8';"
       "pragma mmap_size=1000000; select max(b) from t;"}));
  unlink(path.c_str());
}

TEST(Kernel, ExoticCalls) {
  const RunReport report = run_checked(exotic_calls);
  expect_clean(report);
  // What the guest was written for did run: most of the table.
  EXPECT_GT(report.calls.size(), 150u);
  std::string never;
  for (const auto& [number, count] : report.calls) {
    if (!report.succeeded.contains(number)) never += " " + name(number);
  }
  fmt::print("never succeeded:{}\n", never);
}

TEST(Kernel, TheCheckSeesWhatIsForgotten) {
  const auto guest = [] {
    char name[390];
    syscall(nr::uname, name);
    void* page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? 1 : 0;
  };
  EXPECT_THAT(run_checked(guest).failures, ::testing::IsEmpty());
  EXPECT_THAT(run_checked(guest, nr::uname).failures,
              ::testing::Contains(::testing::HasSubstr("changed unannounced")));
  EXPECT_THAT(run_checked(guest, nr::mmap).failures,
              ::testing::Contains(::testing::HasSubstr("mappings differ")));
}

TEST(Kernel, RandomArguments) {
  expect_clean(run_checked([] { return random_calls(25); }));
}

}  // namespace
}  // namespace rchk::syscalls::test
