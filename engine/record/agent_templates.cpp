// The agent's code, made of the templates in agent_code.S.

#include <algorithm>
#include <cstring>

#include <sys/syscall.h>

#include "engine/record/agent.h"
#include "engine/record/agent_layout.h"

namespace rchk::record {

// What is where in a template, as agent_code.S lists it.
using Label = const uint8_t*;
struct Labels {
  Label code, code_end;
  Label first_ring, second_ring, first_cookie, second_cookie;
  Label bases, bases_end;
  Label begin, called, returns, traced;
};
struct ClockLabels {
  Labels common;
  Label gettime, gettimeofday, time;
};
struct FileLabels {
  Labels common;
  Label first_threads, second_threads, second, behind, data, number;
};
struct WaitingLabels {
  Labels common;
  Label threads, second, with_threads;
  Label alone, behind_alone, with_others, behind_with_others;
  Label copies, copies_end, number;
};

extern "C" {
extern const ClockLabels rchk_clock_labels;
extern const FileLabels rchk_file_labels;
extern const WaitingLabels rchk_stream_labels, rchk_wait_labels, rchk_socket_labels;
}

namespace {

constexpr uint64_t kSyscallInstructionBytes = 2, kDisplacementBytes = 4;
constexpr uint8_t kJump = 0xe9, kMovEax = 0xb8, kNop = 0x90;
constexpr uint64_t kImmediateBytes = 1;  // of the question for threads, behind the displacement

struct ClockFunction {
  int32_t number;
  Label ClockLabels::*code;
};
constexpr ClockFunction kClockFunctions[] = {
    {SYS_clock_gettime, &ClockLabels::gettime},
    {SYS_gettimeofday, &ClockLabels::gettimeofday},
    {SYS_time, &ClockLabels::time},
};

// One of the templates, about to be put at `at`.
class Template {
 public:
  Template(const Labels& labels, GuestAddress at)
      : labels_(labels), at_(at), bytes_(labels.code, labels.code_end) {}

  // What all of them have: of `agent`, with what is to be shown to its filter.
  void equip(const Agent& agent, const AgentCookies& shown) {
    put(labels_.first_ring, agent.ring.value);
    put(labels_.second_ring, agent.ring.value);
    put(labels_.first_cookie, shown.first);
    put(labels_.second_cookie, shown.second);
    shown_ = shown.first;
    if (agent.bases) return;
    std::memset(bytes_.data() + offset(labels_.bases), kNop,
                static_cast<size_t>(labels_.bases_end - labels_.bases));
  }
  GuestAddress address(Label label) const { return at_ + offset(label); }
  template <typename Value>
  void put(Label label, Value value) {
    std::memcpy(bytes_.data() + offset(label), &value, sizeof(value));
  }
  // A displacement from behind it, or `behind_bytes` further. False if it is too far.
  bool point(Label label, GuestAddress to, uint64_t behind_bytes = 0) {
    const uint64_t from = address(label).value + kDisplacementBytes + behind_bytes;
    const auto distance = static_cast<int64_t>(to.value - from);
    put(label, static_cast<int32_t>(distance));
    return distance == static_cast<int32_t>(distance);
  }
  // `behind`: where kJumps leads to.
  AgentCode code(AgentCode::Exit exit, GuestAddress behind = {}) const {
    return {address(labels_.begin),
            address(labels_.called) - kSyscallInstructionBytes,
            address(labels_.called),
            address(labels_.returns),
            address(labels_.traced),
            exit,
            behind,
            address(labels_.first_cookie),
            shown_};
  }
  trace::MemoryWrite write() const { return {at_, bytes_}; }

 private:
  size_t offset(Label label) const { return static_cast<size_t>(label - labels_.code); }

  const Labels& labels_;
  GuestAddress at_;
  Bytes bytes_;
  uint64_t shown_ = 0;
};

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

// The same, which `agent` remembers.
trace::MemoryWrite taken_by_jump(Agent& agent, GuestAddress from, GuestAddress to) {
  trace::MemoryWrite jump = jump_of(from, to);
  agent.jumps[from] = jump.bytes;
  return jump;
}

size_t size_of(const Labels& labels) { return static_cast<size_t>(labels.code_end - labels.code); }

std::vector<trace::MemoryWrite> code_at_offsets(Agent& agent, GuestAddress at,
                                                const FileFunction& function) {
  const FileLabels& labels = rchk_file_labels;
  const GuestAddress behind = function.call + kSyscallInstructionBytes;
  Template code(labels.common, at);
  code.equip(agent, agent.cookies);
  code.put(labels.data, agent.data.value);
  code.put(labels.number, function.number);
  const bool reaches = code.point(labels.first_threads, function.threads, kImmediateBytes) &&
                       code.point(labels.second_threads, function.threads, kImmediateBytes) &&
                       code.point(labels.second, function.second()) &&
                       code.point(labels.behind, behind);
  if (!reaches) return {};
  agent.functions[function.number] = function;
  agent.code[function.number] = code.code(AgentCode::Exit::kJumps, behind);
  return {code.write(), taken_by_jump(agent, function.head, at)};
}

const WaitingLabels& labels_of(int32_t number) {
  if (is_of_socket(number)) return rchk_socket_labels;
  return number == SYS_epoll_wait ? rchk_wait_labels : rchk_stream_labels;
}

std::vector<trace::MemoryWrite> code_with_threads(Agent& agent, GuestAddress at,
                                                  const FileFunction& function) {
  constexpr uint64_t kQuestionBytes = 9;    // cmpb; je
  constexpr uint64_t kKeepFourthBytes = 3;  // in between: mov %ecx, %r10d
  const uint64_t question = kQuestionBytes + (function.has_four() ? kKeepFourthBytes : 0);
  const WaitingLabels& labels = labels_of(function.number);
  const FileFunction::WithThreads& others = *function.with_threads;
  const auto behind = [](GuestAddress call) { return (call + kSyscallInstructionBytes).value; };
  Template code(labels.common, at);
  code.equip(agent, is_of_socket(function.number) ? agent.cookies.of_sockets() : agent.cookies);
  code.put(labels.alone, (function.head + question).value);
  code.put(labels.behind_alone, behind(function.call));
  code.put(labels.with_others, (others.loads + FileFunction::kLoadBytes).value);
  code.put(labels.behind_with_others, behind(others.call));
  code.put(labels.copies, agent.copies.value);
  code.put(labels.copies_end, agent.copies.value + AGENT_COPIES_BYTES);
  code.put(labels.number, function.number);
  const bool reaches = code.point(labels.threads, function.threads, kImmediateBytes) &&
                       code.point(labels.second, function.second());
  if (!reaches) return {};
  agent.functions[function.number] = function;
  agent.code[function.number] = code.code(AgentCode::Exit::kJumpsToRcx);
  return {code.write(), taken_by_jump(agent, function.head, at),
          taken_by_jump(agent, others.loads, code.address(labels.with_threads))};
}

}  // namespace

size_t clock_code_bytes() { return size_of(rchk_clock_labels.common); }

std::vector<trace::MemoryWrite> clock_code(Agent& agent, GuestAddress at, GuestAddress vdso,
                                           const VdsoCalls& calls) {
  const ClockLabels& labels = rchk_clock_labels;
  Template code(labels.common, at);
  code.equip(agent, agent.cookies);
  std::vector<trace::MemoryWrite> writes{code.write()};
  for (const ClockFunction& function : kClockFunctions) {
    agent.code[function.number] = code.code(AgentCode::Exit::kReturns);
    const auto offset = calls.find(function.number);
    if (!offset) continue;
    writes.push_back(taken_by_jump(agent, vdso + *offset, code.address(labels.*function.code)));
  }
  return writes;
}

std::vector<trace::MemoryWrite> plain_heads(GuestAddress vdso, const VdsoCalls& calls) {
  std::vector<trace::MemoryWrite> writes;
  for (const ClockFunction& function : kClockFunctions) {
    const auto offset = calls.find(function.number);
    if (offset)
      writes.push_back(head_of(vdso + *offset, kMovEax, static_cast<uint32_t>(function.number)));
  }
  return writes;
}

size_t file_code_bytes() {
  return std::max({size_of(rchk_file_labels.common), size_of(rchk_stream_labels.common),
                   size_of(rchk_wait_labels.common), size_of(rchk_socket_labels.common)});
}

std::vector<trace::MemoryWrite> file_code(Agent& agent, GuestAddress at,
                                          const FileFunction& function) {
  return function.with_threads ? code_with_threads(agent, at, function)
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
    writes.push_back({function.with_threads->loads, function.has_four() ? of_four : of_three});
  }
  return writes;
}

}  // namespace rchk::record
