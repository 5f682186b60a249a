#include "engine/record/agent.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include "engine/record/agent_layout.h"
#include "engine/record/task.h"

namespace rchk::record {

namespace {

constexpr size_t kSlotBytes = 1 << AGENT_SLOT_SHIFT;
constexpr uint64_t kDataBytes = uint64_t{AGENT_SLOTS} << AGENT_DATA_SHIFT;

constexpr int32_t kClockCalls[] = {SYS_clock_gettime, SYS_gettimeofday, SYS_time};
constexpr int32_t kFileCalls[] = {SYS_pread64, SYS_pwrite64,   SYS_read,     SYS_write, SYS_writev,
                                  SYS_sendmsg, SYS_epoll_wait, SYS_recvfrom, SYS_sendto};

bool has_offset(int32_t number) { return number == SYS_pread64 || number == SYS_pwrite64; }

bool reads(int32_t number) {
  return number == SYS_pread64 || number == SYS_read || number == SYS_recvfrom ||
         number == SYS_epoll_wait;
}

template <typename Value>
Value read_at(std::span<const uint8_t> bytes, size_t offset) {
  Value value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
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
  return std::find(std::begin(kClockCalls), std::end(kClockCalls), number) != std::end(kClockCalls);
}

bool is_file_call(int32_t number) {
  return std::find(std::begin(kFileCalls), std::end(kFileCalls), number) != std::end(kFileCalls);
}

bool is_of_socket(int32_t number) { return number == SYS_recvfrom || number == SYS_sendto; }

AgentCookies AgentCookies::of_sockets() const {
  constexpr int kHalfBits = 32;
  return {first << kHalfBits, second << kHalfBits};
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

snapshot::RangeSet Agent::memory() const {
  snapshot::RangeSet ranges{range_of(ring, ring_bytes())};
  if (data.value != 0) ranges.push_back(range_of(data, data_bytes()));
  return snapshot::normalized(std::move(ranges));
}

int Agent::most_descriptors() { return AGENT_DESCRIPTORS; }

uint64_t Agent::most_asked_for(int32_t number) {
  static_assert(AGENT_MOST_EPOLL_EVENTS * AGENT_EPOLL_EVENT_BYTES <= AGENT_COPIES_BYTES);
  if (number == SYS_epoll_wait) return AGENT_MOST_EPOLL_EVENTS;
  return has_offset(number) ? AGENT_DATA_BYTES : AGENT_STREAM_BYTES;
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
    if (has_offset(number)) before.r10 = word(AGENT_OUTPUT + sizeof(uint64_t));
  }
  if (is_of_socket(number)) {
    const auto half = [slot](size_t offset) { return read_at<uint32_t>(slot, offset); };
    const AgentCookies shown = agent.cookies.of_sockets();
    before.rdi = shown.first | half(AGENT_RDI);
    before.r10 = shown.second | half(AGENT_RDI + sizeof(uint32_t));
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

std::vector<sock_filter> agent_filter(const AgentCookies& cookies,
                                      const std::optional<StopsBySignal>& by_signal) {
  const uint32_t stop = by_signal ? SECCOMP_RET_TRAP | by_signal->data : SECCOMP_RET_TRACE;
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
  constexpr size_t kPlace = offsetof(seccomp_data, instruction_pointer);
  std::vector<sock_filter> code{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kPlace + kHalf),
                                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ~0u, 0, 1),
                                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  if (by_signal) {
    const uint64_t pc = by_signal->shown_pc.value;
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high(pc), 0, 3));
    code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kPlace));
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(pc), 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  const auto demand = [&code, stop](const Wanted& one) {
    code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(one.offset)));
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, one.value, 1, 0));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, stop));
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
  for (const int32_t number : kClockCalls) allow(static_cast<uint32_t>(number));
  for (const int32_t number : kFileCalls) {
    if (!is_of_socket(number)) allow(static_cast<uint32_t>(number));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, stop));
  return code;
}

}  // namespace rchk::record
