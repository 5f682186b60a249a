#include "engine/record/agent.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include "engine/record/agent_layout.h"
#include "engine/record/task.h"

// agent_code.S
extern "C" {
extern const uint8_t rchk_clock_code[], rchk_clock_code_end[];
extern const uint8_t rchk_clock_gettime[], rchk_clock_gettimeofday[], rchk_clock_time[];
extern const uint8_t rchk_clock_first_ring[], rchk_clock_second_ring[];
extern const uint8_t rchk_clock_first_cookie[], rchk_clock_second_cookie[];
extern const uint8_t rchk_clock_begin[], rchk_clock_bases[], rchk_clock_bases_end[];
extern const uint8_t rchk_clock_called[], rchk_clock_return[], rchk_clock_traced[];

extern const uint8_t rchk_file_code[], rchk_file_code_end[];
extern const uint8_t rchk_file_first_threads[], rchk_file_second_threads[];
extern const uint8_t rchk_file_first_ring[], rchk_file_second_ring[], rchk_file_data[];
extern const uint8_t rchk_file_first_cookie[], rchk_file_second_cookie[], rchk_file_number[];
extern const uint8_t rchk_file_begin[], rchk_file_bases[], rchk_file_bases_end[];
extern const uint8_t rchk_file_called[], rchk_file_return[], rchk_file_traced[];
extern const uint8_t rchk_file_behind[], rchk_file_second[];

extern const uint8_t rchk_stream_code[], rchk_stream_code_end[];
extern const uint8_t rchk_stream_with_threads[], rchk_stream_threads[], rchk_stream_second[];
extern const uint8_t rchk_stream_alone[], rchk_stream_behind_alone[];
extern const uint8_t rchk_stream_with_others[], rchk_stream_behind_with_others[];
extern const uint8_t rchk_stream_first_ring[], rchk_stream_second_ring[];
extern const uint8_t rchk_stream_copies[], rchk_stream_copies_end[];
extern const uint8_t rchk_stream_first_cookie[], rchk_stream_second_cookie[];
extern const uint8_t rchk_stream_number[];
extern const uint8_t rchk_stream_begin[], rchk_stream_bases[], rchk_stream_bases_end[];
extern const uint8_t rchk_stream_called[], rchk_stream_return[], rchk_stream_traced[];

extern const uint8_t rchk_wait_code[], rchk_wait_code_end[];
extern const uint8_t rchk_wait_with_threads[], rchk_wait_threads[], rchk_wait_second[];
extern const uint8_t rchk_wait_alone[], rchk_wait_behind_alone[];
extern const uint8_t rchk_wait_with_others[], rchk_wait_behind_with_others[];
extern const uint8_t rchk_wait_first_ring[], rchk_wait_second_ring[];
extern const uint8_t rchk_wait_copies[], rchk_wait_copies_end[];
extern const uint8_t rchk_wait_first_cookie[], rchk_wait_second_cookie[];
extern const uint8_t rchk_wait_begin[], rchk_wait_bases[], rchk_wait_bases_end[];
extern const uint8_t rchk_wait_called[], rchk_wait_return[], rchk_wait_traced[];

extern const uint8_t rchk_socket_code[], rchk_socket_code_end[];
extern const uint8_t rchk_socket_with_threads[], rchk_socket_threads[], rchk_socket_second[];
extern const uint8_t rchk_socket_alone[], rchk_socket_behind_alone[];
extern const uint8_t rchk_socket_with_others[], rchk_socket_behind_with_others[];
extern const uint8_t rchk_socket_first_ring[], rchk_socket_second_ring[];
extern const uint8_t rchk_socket_copies[], rchk_socket_copies_end[];
extern const uint8_t rchk_socket_first_cookie[], rchk_socket_second_cookie[];
extern const uint8_t rchk_socket_number[];
extern const uint8_t rchk_socket_begin[], rchk_socket_bases[], rchk_socket_bases_end[];
extern const uint8_t rchk_socket_called[], rchk_socket_return[], rchk_socket_traced[];
}

namespace rchk::record {

namespace {

constexpr size_t kSlotBytes = 1 << AGENT_SLOT_SHIFT;
constexpr uint64_t kSyscallInstructionBytes = 2, kDisplacementBytes = 4;
constexpr uint64_t kDataBytes = uint64_t{AGENT_SLOTS} << AGENT_DATA_SHIFT;
constexpr uint8_t kJump = 0xe9, kMovEax = 0xb8, kNop = 0x90;

struct ClockFunction {
  uint32_t number;
  const uint8_t* code;
};
constexpr ClockFunction kClockFunctions[] = {
    {SYS_clock_gettime, rchk_clock_gettime},
    {SYS_gettimeofday, rchk_clock_gettimeofday},
    {SYS_time, rchk_clock_time},
};
constexpr int32_t kFileCalls[] = {SYS_pread64, SYS_pwrite64,   SYS_read,     SYS_write, SYS_writev,
                                  SYS_sendmsg, SYS_epoll_wait, SYS_recvfrom, SYS_sendto};

bool has_offset(int32_t number) { return number == SYS_pread64 || number == SYS_pwrite64; }

bool is_of_socket(int32_t number) { return number == SYS_recvfrom || number == SYS_sendto; }

bool reads(int32_t number) {
  return number == SYS_pread64 || number == SYS_read || number == SYS_recvfrom ||
         number == SYS_epoll_wait;
}

// Of recv and send an upper half is one.
constexpr int kHalfBits = 32;
uint64_t in_upper_half(uint64_t cookie) { return cookie << kHalfBits; }

// Debian 12's, in hexadecimal digits, as far as they matter; "?": whatever a byte may be.
struct KnownCode {
  int32_t number;
  std::string_view code;
  uint64_t call;                      // behind the question for threads, and the number
  uint64_t loads, call_with_threads;  // 0: those with threads are none of the agent's
};
constexpr KnownCode kKnownCode[] = {
    {SYS_pread64,
     "803d????00"    // cmpb $0, __libc_single_threaded(%rip)
     "4989ca"        // mov %rcx, %r10
     "74?"           // je
     "b811000000"    // mov $17, %eax
     "0f05"          // syscall
     "483d00f0ffff"  // cmp $-4096, %rax
     ,
     17, 0, 0},
    {SYS_pwrite64, "803d????004989ca74?b8120000000f05483d00f0ffff", 17, 0, 0},
    {SYS_read,
     "803d????00"    // cmpb $0, __libc_single_threaded(%rip)
     "7417"          // je with_threads
     "31c0"          // xor %eax, %eax
     "0f05"          // syscall
     "483d00f0ffff"  // cmp $-4096, %rax
     "77?"           // ja
     "c3"            // ret
     "??????????"
     "4883ec28"      // with_threads: sub $0x28, %rsp
     "4889542418"    // mov %rdx, 0x18(%rsp)
     "4889742410"    // mov %rsi, 0x10(%rsp)
     "897c2408"      // mov %edi, 8(%rsp)
     "e8????"        // call __pthread_enable_asynccancel
     "488b542418"    // mov 0x18(%rsp), %rdx
     "488b742410"    // mov 0x10(%rsp), %rsi
     "4189c0"        // mov %eax, %r8d
     "8b7c2408"      // mov 8(%rsp), %edi
     "31c0"          // xor %eax, %eax
     "0f05"          // syscall
     "483d00f0ffff"  // cmp $-4096, %rax
     "77?"           // ja
     "4489c7"        // mov %r8d, %edi
     "4889442408"    // mov %rax, 8(%rsp)
     "e8????"        // call __pthread_disable_asynccancel
     "488b442408"    // mov 8(%rsp), %rax
     "4883c428c3"    // add $0x28, %rsp; ret
     ,
     11, 60, 74},
    {SYS_write,
     "803d????007417b8010000000f05483d00f0ffff77?c3???????4883ec2848895424184889742410897c2408"
     "e8????488b542418488b7424104189c08b7c2408b8010000000f05483d00f0ffff77?4489c74889442408e8????"
     "488b4424084883c428c3",
     14, 60, 77},
    {SYS_writev,
     "803d????007417b8140000000f05483d00f0ffff77?c3???????4883ec288954241c4889742410897c2408e8????"
     "8b54241c488b7424104189c08b7c2408b8140000000f05483d00f0ffff77?4489c74889442408e8????"
     "488b4424084883c428c3",
     14, 58, 75},
    {SYS_sendmsg,
     "803d????007417b82e0000000f05483d00f0ffff77?c3???????4883ec288954241c4889742410897c2408e8????"
     "8b54241c488b7424104189c08b7c2408b82e0000000f05483d00f0ffff77?4489c74889442408e8????"
     "488b4424084883c428c3",
     14, 58, 75},
    {SYS_epoll_wait,
     "803d????004189ca7414b8e80000000f05483d00f0ffff77?c3????4883ec28895424184889742410897c240c"
     "894c241ce8????448b54241c8b5424184189c0488b7424108b7c240cb8e80000000f05483d00f0ffff77?4489c7"
     "8944240ce8????8b44240c4883c428c3",
     17, 58, 84},
    {SYS_recvfrom,
     "803d????004189ca741c4531c94531c0b82d0000000f05483d00f0ffff77?c3??????554883ec2048895424104889"
     "742408893c24894c241ce8????448b54241c8b3c244531c989c5488b542410488b7424084531c0b82d0000000f05"
     "483d00f0ffff77?89ef48890424",
     23, 67, 98},
    {SYS_sendto,
     "803d????004189ca741c4531c94531c0b82c0000000f05483d00f0ffff77?c3??????554883ec2048895424104889"
     "742408893c24894c241ce8????448b54241c8b3c244531c989c5488b542410488b7424084531c0b82c0000000f05"
     "483d00f0ffff77?89ef48890424",
     23, 67, 98},
};

bool is_known(std::string_view known, std::span<const uint8_t> code) {
  const auto digit = [](char one) { return one <= '9' ? one - '0' : one - 'a' + 10; };
  size_t at = 0;
  for (size_t i = 0; i < known.size(); ++at) {
    if (at == code.size()) return false;
    if (known[i] == '?') {
      ++i;
      continue;
    }
    if (code[at] != digit(known[i]) * 16 + digit(known[i + 1])) return false;
    i += 2;
  }
  return true;
}

// One of the templates, about to be put at `at`.
class Template {
 public:
  Template(const uint8_t* begin, const uint8_t* end, GuestAddress at)
      : begin_(begin), at_(at), bytes_(begin, end) {}

  GuestAddress address(const uint8_t* label) const { return at_ + offset(label); }
  template <typename Value>
  void put(const uint8_t* label, Value value) {
    std::memcpy(bytes_.data() + offset(label), &value, sizeof(value));
  }
  // A displacement from behind it, or `behind_bytes` further. False if it is too far.
  bool point(const uint8_t* label, GuestAddress to, uint64_t behind_bytes = 0) {
    const uint64_t from = address(label).value + kDisplacementBytes + behind_bytes;
    const auto distance = static_cast<int64_t>(to.value - from);
    put(label, static_cast<int32_t>(distance));
    return distance == static_cast<int32_t>(distance);
  }
  void remove(const uint8_t* from, const uint8_t* to) {
    std::memset(bytes_.data() + offset(from), kNop, static_cast<size_t>(to - from));
  }
  trace::MemoryWrite write() const { return {at_, bytes_}; }

 private:
  size_t offset(const uint8_t* label) const { return static_cast<size_t>(label - begin_); }

  const uint8_t* begin_;
  GuestAddress at_;
  Bytes bytes_;
};

template <typename Value>
Value read_at(std::span<const uint8_t> bytes, size_t offset) {
  Value value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

trace::MemoryWrite head_of(GuestAddress function, uint8_t opcode, uint32_t operand) {
  trace::MemoryWrite write{function, Bytes(1 + sizeof(operand))};
  write.bytes[0] = opcode;
  std::memcpy(write.bytes.data() + 1, &operand, sizeof(operand));
  return write;
}

// A jump in the place of the instruction at `from`.
trace::MemoryWrite jump_of(GuestAddress from, GuestAddress to) {
  const uint64_t behind = from.value + 1 + kDisplacementBytes;
  return head_of(from, kJump, static_cast<uint32_t>(to.value - behind));
}

// What a call of the clock that has succeeded left in memory.
std::optional<trace::MemoryWrite> clock_write(const Registers& after, int32_t number,
                                              std::span<const uint8_t> slot) {
  constexpr size_t kTimeBytes = 16;
  const auto result = static_cast<int64_t>(after.rax);
  if (number == SYS_time) {
    if (result < 0 || after.rdi == 0) return std::nullopt;
    trace::MemoryWrite write{{after.rdi}, Bytes(sizeof(result))};
    std::memcpy(write.bytes.data(), &result, sizeof(result));
    return write;
  }
  if (result != 0) return std::nullopt;
  const auto output = slot.subspan(AGENT_OUTPUT, kTimeBytes);
  return trace::MemoryWrite{{after.r10}, Bytes(output.begin(), output.end())};
}

}  // namespace

bool reads_clock(int32_t number) {
  for (const ClockFunction& function : kClockFunctions) {
    if (static_cast<int32_t>(function.number) == number) return true;
  }
  return false;
}

bool is_file_call(int32_t number) {
  return std::find(std::begin(kFileCalls), std::end(kFileCalls), number) != std::end(kFileCalls);
}

std::optional<FileFunction> FileFunction::find(int32_t number, GuestAddress call,
                                               const Read& read) {
  for (const KnownCode& known : kKnownCode) {
    if (known.number != number) continue;
    for (const uint64_t offset : {known.call, known.call_with_threads}) {
      if (offset == 0) continue;
      const GuestAddress head = call - offset;
      const Bytes code = read(head, kMostBytes);
      if (!is_known(known.code, code)) continue;
      FileFunction function;
      function.number = number;
      function.head = head;
      constexpr size_t kDisplacement = 2;
      const auto displacement = static_cast<int64_t>(read_at<int32_t>(code, kDisplacement));
      function.threads = {function.second().value + static_cast<uint64_t>(displacement)};
      function.call = head + known.call;
      if (known.loads != 0) {
        function.with_threads = WithThreads{head + known.loads, head + known.call_with_threads};
      }
      return function;
    }
  }
  return std::nullopt;
}

const AgentCode* Agent::within(GuestAddress pc) const {
  for (const auto& [number, part] : code) {
    if (part.is_within(pc)) return &part;
  }
  return nullptr;
}

uint64_t Agent::ring_bytes() {
  static_assert(AGENT_SLOTS * kSlotBytes % kPageSize == 0);
  static_assert(AGENT_BITMAP + AGENT_DESCRIPTORS / 8 <= kSlotBytes);
  return AGENT_SLOTS * kSlotBytes;
}

uint64_t Agent::data_bytes() { return kDataBytes + AGENT_COPIES_BYTES; }

uint64_t Agent::most_functions() { return std::size(kFileCalls); }

void Agent::place_data(GuestAddress at) {
  data = at;
  copies = at + kDataBytes;
}

int Agent::most_descriptors() { return AGENT_DESCRIPTORS; }

uint64_t Agent::most_asked_for(int32_t number) {
  static_assert(AGENT_MOST_EPOLL_EVENTS * AGENT_EPOLL_EVENT_BYTES <= AGENT_COPIES_BYTES);
  if (number == SYS_epoll_wait) return AGENT_MOST_EPOLL_EVENTS;
  return has_offset(number) ? AGENT_DATA_BYTES : AGENT_STREAM_BYTES;
}

size_t clock_code_bytes() { return static_cast<size_t>(rchk_clock_code_end - rchk_clock_code); }

std::vector<trace::MemoryWrite> clock_code(Agent& agent, GuestAddress at, GuestAddress vdso,
                                           const VdsoCalls& calls) {
  Template code(rchk_clock_code, rchk_clock_code_end, at);
  code.put(rchk_clock_first_ring, agent.ring.value);
  code.put(rchk_clock_second_ring, agent.ring.value);
  code.put(rchk_clock_first_cookie, agent.cookies.first);
  code.put(rchk_clock_second_cookie, agent.cookies.second);
  if (!agent.bases) code.remove(rchk_clock_bases, rchk_clock_bases_end);
  std::vector<trace::MemoryWrite> writes{code.write()};
  AgentCode part{code.address(rchk_clock_begin),
                 code.address(rchk_clock_called) - kSyscallInstructionBytes,
                 code.address(rchk_clock_called),
                 code.address(rchk_clock_return),
                 code.address(rchk_clock_traced),
                 AgentCode::Exit::kReturns,
                 {}};
  for (const ClockFunction& function : kClockFunctions) {
    agent.code[static_cast<int32_t>(function.number)] = part;
    const auto offset = calls.find(function.number);
    if (offset) writes.push_back(jump_of(vdso + *offset, code.address(function.code)));
  }
  return writes;
}

std::vector<trace::MemoryWrite> plain_heads(GuestAddress vdso, const VdsoCalls& calls) {
  std::vector<trace::MemoryWrite> writes;
  for (const ClockFunction& function : kClockFunctions) {
    const auto offset = calls.find(function.number);
    if (offset) writes.push_back(head_of(vdso + *offset, kMovEax, function.number));
  }
  return writes;
}

size_t file_code_bytes() {
  return static_cast<size_t>(
      std::max({rchk_file_code_end - rchk_file_code, rchk_stream_code_end - rchk_stream_code,
                rchk_wait_code_end - rchk_wait_code, rchk_socket_code_end - rchk_socket_code}));
}

namespace {

constexpr uint64_t kImmediateBytes = 1;  // of the question for threads, behind the displacement

std::vector<trace::MemoryWrite> code_at_offsets(Agent& agent, GuestAddress at,
                                                const FileFunction& function) {
  const GuestAddress behind = function.call + kSyscallInstructionBytes;
  Template code(rchk_file_code, rchk_file_code_end, at);
  code.put(rchk_file_first_ring, agent.ring.value);
  code.put(rchk_file_second_ring, agent.ring.value);
  code.put(rchk_file_data, agent.data.value);
  code.put(rchk_file_first_cookie, agent.cookies.first);
  code.put(rchk_file_second_cookie, agent.cookies.second);
  code.put(rchk_file_number, function.number);
  if (!agent.bases) code.remove(rchk_file_bases, rchk_file_bases_end);
  const bool reaches = code.point(rchk_file_first_threads, function.threads, kImmediateBytes) &&
                       code.point(rchk_file_second_threads, function.threads, kImmediateBytes) &&
                       code.point(rchk_file_second, function.second()) &&
                       code.point(rchk_file_behind, behind);
  if (!reaches) return {};
  agent.functions[function.number] = function;
  agent.code[function.number] = {code.address(rchk_file_begin),
                                 code.address(rchk_file_called) - kSyscallInstructionBytes,
                                 code.address(rchk_file_called),
                                 code.address(rchk_file_return),
                                 code.address(rchk_file_traced),
                                 AgentCode::Exit::kJumps,
                                 behind};
  return {code.write(), jump_of(function.head, at)};
}

std::vector<trace::MemoryWrite> code_of_streams(Agent& agent, GuestAddress at,
                                                const FileFunction& function) {
  constexpr uint64_t kQuestionBytes = 9;  // whether there are threads
  const FileFunction::WithThreads& others = *function.with_threads;
  const auto behind = [](GuestAddress call) { return (call + kSyscallInstructionBytes).value; };
  Template code(rchk_stream_code, rchk_stream_code_end, at);
  code.put(rchk_stream_alone, (function.head + kQuestionBytes).value);
  code.put(rchk_stream_behind_alone, behind(function.call));
  code.put(rchk_stream_with_others, (others.loads + FileFunction::kLoadBytes).value);
  code.put(rchk_stream_behind_with_others, behind(others.call));
  code.put(rchk_stream_first_ring, agent.ring.value);
  code.put(rchk_stream_second_ring, agent.ring.value);
  code.put(rchk_stream_copies, agent.copies.value);
  code.put(rchk_stream_copies_end, agent.copies.value + AGENT_COPIES_BYTES);
  code.put(rchk_stream_first_cookie, agent.cookies.first);
  code.put(rchk_stream_second_cookie, agent.cookies.second);
  code.put(rchk_stream_number, function.number);
  if (!agent.bases) code.remove(rchk_stream_bases, rchk_stream_bases_end);
  const bool reaches = code.point(rchk_stream_threads, function.threads, kImmediateBytes) &&
                       code.point(rchk_stream_second, function.second());
  if (!reaches) return {};
  agent.functions[function.number] = function;
  agent.code[function.number] = {code.address(rchk_stream_begin),
                                 code.address(rchk_stream_called) - kSyscallInstructionBytes,
                                 code.address(rchk_stream_called),
                                 code.address(rchk_stream_return),
                                 code.address(rchk_stream_traced),
                                 AgentCode::Exit::kJumpsToRcx,
                                 {}};
  return {code.write(), jump_of(function.head, at),
          jump_of(others.loads, code.address(rchk_stream_with_threads))};
}

std::vector<trace::MemoryWrite> code_of_wait(Agent& agent, GuestAddress at,
                                             const FileFunction& function) {
  constexpr uint64_t kNumberBytes = 5;  // mov $232, %eax
  const FileFunction::WithThreads& others = *function.with_threads;
  const auto behind = [](GuestAddress call) { return (call + kSyscallInstructionBytes).value; };
  Template code(rchk_wait_code, rchk_wait_code_end, at);
  code.put(rchk_wait_alone, (function.call - kNumberBytes).value);
  code.put(rchk_wait_behind_alone, behind(function.call));
  code.put(rchk_wait_with_others, (others.loads + FileFunction::kLoadBytes).value);
  code.put(rchk_wait_behind_with_others, behind(others.call));
  code.put(rchk_wait_first_ring, agent.ring.value);
  code.put(rchk_wait_second_ring, agent.ring.value);
  code.put(rchk_wait_copies, agent.copies.value);
  code.put(rchk_wait_copies_end, agent.copies.value + AGENT_COPIES_BYTES);
  code.put(rchk_wait_first_cookie, agent.cookies.first);
  code.put(rchk_wait_second_cookie, agent.cookies.second);
  if (!agent.bases) code.remove(rchk_wait_bases, rchk_wait_bases_end);
  const bool reaches = code.point(rchk_wait_threads, function.threads, kImmediateBytes) &&
                       code.point(rchk_wait_second, function.second());
  if (!reaches) return {};
  agent.functions[function.number] = function;
  agent.code[function.number] = {code.address(rchk_wait_begin),
                                 code.address(rchk_wait_called) - kSyscallInstructionBytes,
                                 code.address(rchk_wait_called),
                                 code.address(rchk_wait_return),
                                 code.address(rchk_wait_traced),
                                 AgentCode::Exit::kJumpsToRcx,
                                 {}};
  return {code.write(), jump_of(function.head, at),
          jump_of(others.loads, code.address(rchk_wait_with_threads))};
}

std::vector<trace::MemoryWrite> code_of_sockets(Agent& agent, GuestAddress at,
                                                const FileFunction& function) {
  constexpr uint64_t kQuestionBytes = 12;  // whether there are threads
  const FileFunction::WithThreads& others = *function.with_threads;
  const auto behind = [](GuestAddress call) { return (call + kSyscallInstructionBytes).value; };
  Template code(rchk_socket_code, rchk_socket_code_end, at);
  code.put(rchk_socket_alone, (function.head + kQuestionBytes).value);
  code.put(rchk_socket_behind_alone, behind(function.call));
  code.put(rchk_socket_with_others, (others.loads + FileFunction::kLoadBytes).value);
  code.put(rchk_socket_behind_with_others, behind(others.call));
  code.put(rchk_socket_first_ring, agent.ring.value);
  code.put(rchk_socket_second_ring, agent.ring.value);
  code.put(rchk_socket_copies, agent.copies.value);
  code.put(rchk_socket_copies_end, agent.copies.value + AGENT_COPIES_BYTES);
  code.put(rchk_socket_first_cookie, in_upper_half(agent.cookies.first));
  code.put(rchk_socket_second_cookie, in_upper_half(agent.cookies.second));
  code.put(rchk_socket_number, function.number);
  if (!agent.bases) code.remove(rchk_socket_bases, rchk_socket_bases_end);
  const bool reaches = code.point(rchk_socket_threads, function.threads, kImmediateBytes) &&
                       code.point(rchk_socket_second, function.second());
  if (!reaches) return {};
  agent.functions[function.number] = function;
  agent.code[function.number] = {code.address(rchk_socket_begin),
                                 code.address(rchk_socket_called) - kSyscallInstructionBytes,
                                 code.address(rchk_socket_called),
                                 code.address(rchk_socket_return),
                                 code.address(rchk_socket_traced),
                                 AgentCode::Exit::kJumpsToRcx,
                                 {}};
  return {code.write(), jump_of(function.head, at),
          jump_of(others.loads, code.address(rchk_socket_with_threads))};
}

}  // namespace

std::vector<trace::MemoryWrite> file_code(Agent& agent, GuestAddress at,
                                          const FileFunction& function) {
  if (is_of_socket(function.number)) return code_of_sockets(agent, at, function);
  if (function.number == SYS_epoll_wait) return code_of_wait(agent, at, function);
  return function.with_threads ? code_of_streams(agent, at, function)
                               : code_at_offsets(agent, at, function);
}

std::vector<trace::MemoryWrite> plain_heads(const FileFunction& function) {
  constexpr uint8_t kCompare[] = {0x80, 0x3d};
  trace::MemoryWrite head{function.head, Bytes(FileFunction::kHeadBytes)};
  const auto displacement = static_cast<uint32_t>(function.threads.value - function.second().value);
  std::memcpy(head.bytes.data(), kCompare, sizeof(kCompare));
  std::memcpy(head.bytes.data() + sizeof(kCompare), &displacement, sizeof(displacement));
  std::vector<trace::MemoryWrite> writes{std::move(head)};
  if (function.with_threads) {
    const Bytes of_three = {0x48, 0x8b, 0x74, 0x24, 0x10};  // mov 0x10(%rsp), %rsi
    const Bytes of_four = {0x44, 0x8b, 0x54, 0x24, 0x1c};   // mov 0x1c(%rsp), %r10d
    const bool has_four = function.number == SYS_epoll_wait || is_of_socket(function.number);
    writes.push_back({function.with_threads->loads, has_four ? of_four : of_three});
  }
  return writes;
}

trace::MemoryWrite first_cursor(const Agent& agent) {
  trace::MemoryWrite write{agent.ring + AGENT_CURSOR, Bytes(sizeof(agent.copies.value))};
  std::memcpy(write.bytes.data(), &agent.copies.value, write.bytes.size());
  return write;
}

trace::MemoryWrite descriptor_byte(const Agent& agent, int descriptor) {
  const int first = descriptor / 8 * 8;
  trace::MemoryWrite write{agent.ring + AGENT_BITMAP + static_cast<uint64_t>(first / 8), Bytes(1)};
  for (int bit = 0; bit < 8; ++bit) {
    if (agent.descriptors.contains(first + bit)) write.bytes[0] |= static_cast<uint8_t>(1 << bit);
  }
  return write;
}

uint32_t agent_calls(std::span<const uint8_t> head) { return read_at<uint32_t>(head, 0); }

std::optional<AgentEvent> agent_event(const Agent& agent, std::span<const uint8_t> ring,
                                      uint32_t call, const Registers& last) {
  const uint32_t index = call % AGENT_SLOTS;
  if (index == 0) return std::nullopt;
  const auto slot = ring.subspan(index * kSlotBytes, kSlotBytes);
  const auto word = [slot](size_t offset) { return read_at<uint64_t>(slot, offset); };
  const auto selector = [slot](size_t offset) { return read_at<uint16_t>(slot, offset); };
  const auto number = read_at<int32_t>(slot, AGENT_NUMBER);
  const auto part = agent.code.find(number);
  if (part == agent.code.end()) return std::nullopt;  // something else has written there
  AgentEvent made;
  made.event.number = number;
  Registers& before = made.event.before;
  before = last;
  before.orig_rax = kNoCall;
  before.rip = part->second.call.value;
  before.rax = static_cast<uint64_t>(number);
  before.rbx = word(AGENT_RBX);
  before.rbp = word(AGENT_RBP);
  before.r12 = word(AGENT_R12);
  before.r13 = word(AGENT_R13);
  before.r14 = word(AGENT_R14);
  before.r15 = word(AGENT_R15);
  before.rsp = word(AGENT_RSP);
  before.rdi = word(AGENT_RDI);
  before.rsi = word(AGENT_RSI);
  before.r8 = agent.cookies.first;
  before.r9 = agent.cookies.second;
  before.rdx = (agent.ring + index * kSlotBytes).value;
  before.r10 = 0;
  if (number == SYS_clock_gettime) before.r10 = before.rsi;
  if (number == SYS_gettimeofday) before.r10 = before.rdi;
  if (is_file_call(number)) {
    before.rdx = word(AGENT_OUTPUT);
    if (number != SYS_epoll_wait) before.r10 = word(AGENT_OUTPUT + sizeof(uint64_t));
  }
  if (is_of_socket(number)) {
    const auto half = [slot](size_t offset) { return read_at<uint32_t>(slot, offset); };
    before.rdi = in_upper_half(agent.cookies.first) | half(AGENT_RDI);
    before.r10 = in_upper_half(agent.cookies.second) | half(AGENT_RDI + sizeof(uint32_t));
    before.r8 = before.r9 = 0;
  }
  before.rflags = read_at<uint32_t>(slot, AGENT_FLAGS);
  before.ds = selector(AGENT_DS);
  before.es = selector(AGENT_ES);
  before.fs = selector(AGENT_FS);
  before.gs = selector(AGENT_GS);
  if (agent.bases) {
    before.fs_base = word(AGENT_FS_BASE);
    before.gs_base = word(AGENT_GS_BASE);
  }
  // As the instruction leaves them (SDM vol. 2B, SYSCALL).
  before.rcx = part->second.called.value;
  before.r11 = before.rflags;
  Registers& after = made.event.after;
  after = before;
  after.rip = before.rcx;
  after.rax = word(AGENT_RESULT);
  const auto result = static_cast<int64_t>(after.rax);
  if (is_file_call(number)) {
    const uint64_t unit = number == SYS_epoll_wait ? AGENT_EPOLL_EVENT_BYTES : 1;
    GuestAddress data = agent.data + (uint64_t{index} << AGENT_DATA_SHIFT);
    if (!has_offset(number)) data = {word(AGENT_OUTPUT + sizeof(uint64_t))};
    if (reads(number) && result > 0)
      made.data = range_of(data, static_cast<uint64_t>(result) * unit);
  } else if (auto write = clock_write(after, number, slot)) {
    made.event.writes.push_back(std::move(*write));
  }
  return made;
}

std::vector<sock_filter> agent_filter(const AgentCookies& cookies) {
  constexpr size_t kHalf = sizeof(uint32_t);
  constexpr int kFirst = 0, kFourth = 3, kFifth = 4, kSixth = 5;
  struct Wanted {
    size_t offset;
    uint32_t value;
  };
  const auto argument = [](int index) {
    return offsetof(seccomp_data, args) + static_cast<size_t>(index) * sizeof(uint64_t);
  };
  const auto high = [](uint64_t word) { return static_cast<uint32_t>(word >> 32); };
  const Wanted of_sockets[] = {
      {argument(kFirst) + kHalf, static_cast<uint32_t>(cookies.first)},
      {argument(kFourth) + kHalf, static_cast<uint32_t>(cookies.second)},
  };
  const Wanted of_others[] = {
      {argument(kFifth), static_cast<uint32_t>(cookies.first)},
      {argument(kFifth) + kHalf, high(cookies.first)},
      {argument(kSixth), static_cast<uint32_t>(cookies.second)},
      {argument(kSixth) + kHalf, high(cookies.second)},
  };
  // Calls of the vsyscall page are asked about as well, and have no exit (vsyscall_page.cpp).
  constexpr size_t kPlace = offsetof(seccomp_data, instruction_pointer) + kHalf;
  std::vector<sock_filter> code{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kPlace),
                                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ~0u, 0, 1),
                                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const auto demand = [&code](const Wanted& one) {
    code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(one.offset)));
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, one.value, 1, 0));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
  };
  constexpr uint8_t kOfSocketsCount = 7;  // instructions up to the others'
  demand({offsetof(seccomp_data, arch), AUDIT_ARCH_X86_64});
  code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_recvfrom, 1, 0));
  code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendto, 0, kOfSocketsCount));
  for (const Wanted& one : of_sockets) demand(one);
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  for (const Wanted& one : of_others) demand(one);
  code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  const auto allow = [&code](uint32_t number) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  };
  for (const ClockFunction& function : kClockFunctions) allow(function.number);
  for (const int32_t number : kFileCalls) {
    if (!is_of_socket(number)) allow(static_cast<uint32_t>(number));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
  return code;
}

}  // namespace rchk::record
