#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <linux/filter.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/registers.h"
#include "base/types.h"
#include "engine/record/vdso.h"
#include "engine/trace/event.h"
#include "snapshot/range_set.h"

namespace rchk::record {

// The agent: code in the guest that makes some calls without a stop, and writes down in a ring what
// came of them (docs/notes/agent.md): those that read the clock, small reads and writes of files,
// and of sockets that do not block, and epoll_wait that finds something at once. Code and ring are
// memory of the guest's: a replay executes the same code, and comes to the same calls.

// Values of two registers by which a seccomp filter knows the agent's calls. Of one recorder's.
struct AgentCookies {
  uint64_t first = 0, second = 0;
  // Of recv and send: half of each, in an upper half.
  AgentCookies of_sockets() const;
};

// Some of the agent's code.
struct AgentCode {
  // A task that stands from `begin` on uses the ring, and is to go on to one of the ends before
  // anybody else does.
  GuestAddress begin, call, called;
  GuestAddress finished;  // an end: leads back to who called it
  GuestAddress traced;    // an end: leads to a call that stops
  // What the instruction at `finished` does.
  enum class Exit { kReturns, kJumps, kJumpsToRcx } exit = Exit::kReturns;
  GuestAddress behind;  // where it jumps to
  GuestAddress cookie;  // where one of those lies that it shows the filter
  uint64_t shown = 0;   // that one

  bool is_within(GuestAddress pc) const { return pc >= begin && pc < traced; }
  // Whether a call has been made there that is not in the ring yet.
  bool has_called(GuestAddress pc) const { return pc >= called && pc < finished; }
};

// pread64, pwrite64, read, write, writev, sendmsg, epoll_wait, recv or send of the C library, as
// Debian 12's begin: a question whether there are threads, and the call for where there are none.
// Of those without an offset also the one for where there are: in that one the agent comes in
// behind a call of __pthread_enable_asynccancel, in place of the instruction at `loads`, which is
// the next one, and which it makes up for.
struct FileFunction {
  int32_t number = 0;
  GuestAddress head;     // `cmpb $0, disp32(%rip)`
  GuestAddress threads;  // the byte that it asks for
  GuestAddress call;     // without threads
  struct WithThreads {
    GuestAddress loads;  // `mov 0x10(%rsp), %rsi`, or `mov 0x1c(%rsp), %r10d` of four arguments
    GuestAddress call;
  };
  std::optional<WithThreads> with_threads;
  static constexpr uint64_t kHeadBytes = 7, kLoadBytes = 5, kMostBytes = 116;
  GuestAddress second() const { return head + kHeadBytes; }
  // Whether it keeps a fourth argument, behind the question.
  bool has_four() const;
  bool calls_at(GuestAddress pc) const {
    return pc == call || (with_threads && pc == with_threads->call);
  }

  // That function, which makes a call of that number at `call`: `read` gives the bytes at an
  // address, up to so many.
  using Read = std::function<Bytes(GuestAddress from, uint64_t bytes)>;
  static std::optional<FileFunction> find(int32_t number, GuestAddress call, const Read& read);
};

// The agent of some memory.
struct Agent {
  GuestAddress ring;
  GuestAddress data;       // what calls have read, by slot; 0: makes calls of the clock alone
  GuestAddress copies;     // what calls have read that have no offset, behind `data`
  GuestAddress file_code;  // a page
  AgentCookies cookies;
  bool bases = false;                 // programs may read the bases of FS and GS
  uint32_t calls_read = 0;            // as the ring's head counts them: so many are in the log
  uint32_t call_told = 0;             // one that did stop, and has its event
  pid_t user = -1;                    // the task that has run since
  std::map<int32_t, AgentCode> code;  // by the number of its calls
  std::map<int32_t, FileFunction> functions;  // whose calls it makes
  std::map<GuestAddress, Bytes> jumps;        // by where they have taken the place of something
  // Descriptors whose calls it makes.
  struct Descriptor {
    uint64_t device = 0, inode = 0;
    enum class Kind { kFile, kSocket, kEpoll } kind = Kind::kFile;
  };
  std::map<int, Descriptor> descriptors;

  // The code that a task at `pc` is in the middle of.
  const AgentCode* within(GuestAddress pc) const;

  // Where what is read goes to, in `data_bytes()`.
  void place_data(GuestAddress at);

  // The ring and what is read; normalized.
  snapshot::RangeSet memory() const;

  // Memory for the ring, and for what is read; whole pages, in bytes.
  static uint64_t ring_bytes();
  static uint64_t data_bytes();
  static int most_descriptors();
  static uint64_t most_functions();  // whose code a page has room for
  // Bytes, or events of an epoll_wait.
  static uint64_t most_asked_for(int32_t number);
};

// The code in place of the vDSO's functions: put at `at` in the vDSO, and entered from the heads of
// the functions. Adds to `agent.code`.
size_t clock_code_bytes();
std::vector<trace::MemoryWrite> clock_code(Agent& agent, GuestAddress at, GuestAddress vdso,
                                           const VdsoCalls& calls);
// The heads as they were.
std::vector<trace::MemoryWrite> plain_heads(GuestAddress vdso, const VdsoCalls& calls);

// The code in front of a function of the C library's, at `at`, and the jump to it. None if that is
// too far. Adds to `agent`.
size_t file_code_bytes();
std::vector<trace::MemoryWrite> file_code(Agent& agent, GuestAddress at,
                                          const FileFunction& function);
// What jumps to it, as it was.
std::vector<trace::MemoryWrite> plain_heads(const FileFunction& function);
// Says where reads may put what they read.
trace::MemoryWrite first_cursor(const Agent& agent);
// The byte of the ring's head that says of a descriptor whether the agent makes its calls.
trace::MemoryWrite descriptor_byte(const Agent& agent, int descriptor);

// The number of calls that a ring's head counts, `head` being its first bytes.
uint32_t agent_calls(std::span<const uint8_t> head);

// The event of the call that counts as `call`; none of one that stopped. `ring`: all of its bytes.
// `last`: registers of the same task, for those that no ring holds. What a call of a file has read
// is not in it: `data` says where that is.
struct AgentEvent {
  trace::SyscallEvent event;
  std::optional<AddressRange> data;
};
std::optional<AgentEvent> agent_event(const Agent& agent, std::span<const uint8_t> ring,
                                      uint32_t call, const Registers& last);

// How calls are stopped where filters of others are asked as well (docs/notes/agent.md): by a
// SIGSYS, which is stricter than whatever those answer, but to kill.
struct StopsBySignal {
  GuestAddress shown_pc;  // calls that seem to be made from there pass
  uint16_t data = 0;      // SECCOMP_RET_DATA, which the signal says
};

// Lets the agent's calls pass, and stops at all others.
std::vector<sock_filter> agent_filter(const AgentCookies& cookies,
                                      const std::optional<StopsBySignal>& by_signal = {});

// Whether that call reads the clock, or has a descriptor, as an agent's; a socket's.
bool reads_clock(int32_t number);
bool is_file_call(int32_t number);
bool is_of_socket(int32_t number);

}  // namespace rchk::record
