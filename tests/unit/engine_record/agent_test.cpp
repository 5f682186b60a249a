#include "engine/record/agent.h"

#include <cstring>

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "engine/record/agent_layout.h"

namespace rchk::record {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

constexpr AgentCookies kCookies{0x1122334455667788, 0x99aabbccddeeff00};

Agent agent_of_clock() {
  Agent agent;
  agent.ring = {0x7f0000000000};
  agent.cookies = kCookies;
  agent.bases = true;
  VdsoCalls calls;
  calls.add({SYS_clock_gettime, 0x100});
  calls.add({SYS_time, 0x200});
  clock_code(agent, {0x7fff00000500}, {0x7fff00000000}, calls);
  return agent;
}

// pread64 as in Debian 12.
Bytes file_function(uint8_t number) {
  return {0x80,   0x3d, 0x11, 0x52, 0x0e, 0,    0,    0x49, 0x89, 0xca, 0x74, 0x14, 0xb8,
          number, 0,    0,    0,    0x0f, 0x05, 0x48, 0x3d, 0,    0xf0, 0xff, 0xff};
}

// read as in Debian 12.
Bytes read_function() {
  return {0x80, 0x3d, 0x31, 0x33, 0x0e, 0,    0,    0x74, 0x17, 0x31, 0xc0, 0x0f, 0x05, 0x48,
          0x3d, 0,    0xf0, 0xff, 0xff, 0x77, 0x5b, 0xc3, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0,
          0,    0,    0,    0,    0x48, 0x83, 0xec, 0x28, 0x48, 0x89, 0x54, 0x24, 0x18, 0x48,
          0x89, 0x74, 0x24, 0x10, 0x89, 0x7c, 0x24, 0x08, 0xe8, 0x49, 0xd5, 0xf8, 0xff, 0x48,
          0x8b, 0x54, 0x24, 0x18, 0x48, 0x8b, 0x74, 0x24, 0x10, 0x41, 0x89, 0xc0, 0x8b, 0x7c,
          0x24, 0x08, 0x31, 0xc0, 0x0f, 0x05, 0x48, 0x3d, 0,    0xf0, 0xff, 0xff, 0x77, 0x34,
          0x44, 0x89, 0xc7, 0x48, 0x89, 0x44, 0x24, 0x08, 0xe8, 0x9f, 0xd5, 0xf8, 0xff, 0x48,
          0x8b, 0x44, 0x24, 0x08, 0x48, 0x83, 0xc4, 0x28, 0xc3};
}

// epoll_wait as in Debian 12.
Bytes epoll_wait_function() {
  return {0x80, 0x3d, 0xf1, 0x26, 0x0d, 0,    0,    0x41, 0x89, 0xca, 0x74, 0x14, 0xb8, 0xe8, 0,
          0,    0,    0x0f, 0x05, 0x48, 0x3d, 0,    0xf0, 0xff, 0xff, 0x77, 0x5d, 0xc3, 0x0f, 0x1f,
          0x40, 0,    0x48, 0x83, 0xec, 0x28, 0x89, 0x54, 0x24, 0x18, 0x48, 0x89, 0x74, 0x24, 0x10,
          0x89, 0x7c, 0x24, 0x0c, 0x89, 0x4c, 0x24, 0x1c, 0xe8, 0x06, 0xc9, 0xf7, 0xff, 0x44, 0x8b,
          0x54, 0x24, 0x1c, 0x8b, 0x54, 0x24, 0x18, 0x41, 0x89, 0xc0, 0x48, 0x8b, 0x74, 0x24, 0x10,
          0x8b, 0x7c, 0x24, 0x0c, 0xb8, 0xe8, 0,    0,    0,    0x0f, 0x05, 0x48, 0x3d, 0,    0xf0,
          0xff, 0xff, 0x77, 0x32, 0x44, 0x89, 0xc7, 0x89, 0x44, 0x24, 0x0c, 0xe8, 0x56, 0xc9, 0xf7,
          0xff, 0x8b, 0x44, 0x24, 0x0c, 0x48, 0x83, 0xc4, 0x28, 0xc3};
}

constexpr GuestAddress kHead{0x7f1000001000};

// The function that lies at kHead and makes its call so many bytes behind.
std::optional<FileFunction> find_function(int32_t number, const Bytes& code, uint64_t call = 17) {
  return FileFunction::find(number, kHead + call, [&code](GuestAddress from, uint64_t) {
    return from == kHead ? code : Bytes();
  });
}

// What the filter answers, by the kernel's rules for its few opcodes.
uint32_t answer(const std::vector<sock_filter>& code, const seccomp_data& data) {
  uint32_t word = 0;
  for (size_t at = 0; at < code.size(); ++at) {
    const sock_filter& one = code[at];
    switch (one.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&word, reinterpret_cast<const uint8_t*>(&data) + one.k, sizeof(word));
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += word == one.k ? one.jt : one.jf;
        break;
      case BPF_RET | BPF_K:
        return one.k;
      default:
        ADD_FAILURE() << "opcode " << one.code;
        return 0;
    }
  }
  ADD_FAILURE() << "no answer";
  return 0;
}

TEST(Agent, UnderOtherFiltersItsOwnRaisesASignalForAllButWhatHasStopped) {
  constexpr GuestAddress kShown{0x2345678abcde};
  constexpr uint16_t kData = 4711;
  const auto filter = agent_filter(kCookies, StopsBySignal{kShown, kData});
  seccomp_data data{};
  data.nr = SYS_clock_gettime;
  data.arch = AUDIT_ARCH_X86_64;
  data.instruction_pointer = 0x7f0000000000;
  EXPECT_EQ(answer(filter, data), SECCOMP_RET_TRAP | kData);
  data.args[4] = kCookies.first;
  data.args[5] = kCookies.second;
  EXPECT_EQ(answer(filter, data), SECCOMP_RET_ALLOW);
  data.nr = SYS_readv;
  EXPECT_EQ(answer(filter, data), SECCOMP_RET_TRAP | kData);
  data.instruction_pointer = kShown.value;
  for (const uint32_t arch : {uint32_t{AUDIT_ARCH_X86_64}, uint32_t{AUDIT_ARCH_I386}}) {
    data.arch = arch;
    EXPECT_EQ(answer(filter, data), SECCOMP_RET_ALLOW);
  }
  for (const uint64_t bit : {1ull, 1ull << 40}) {
    data.instruction_pointer = kShown.value ^ bit;
    EXPECT_EQ(answer(filter, data), SECCOMP_RET_TRAP | kData);
  }
}

TEST(Agent, ItsFilterKnowsItsCallsAlone) {
  const auto filter = agent_filter(kCookies);
  seccomp_data data{};
  data.nr = SYS_clock_gettime;
  data.arch = AUDIT_ARCH_X86_64;
  data.args[4] = kCookies.first;
  data.args[5] = kCookies.second;
  EXPECT_EQ(answer(filter, data), SECCOMP_RET_ALLOW);
  for (const int number : {SYS_gettimeofday, SYS_time, SYS_pread64, SYS_pwrite64, SYS_read,
                           SYS_write, SYS_writev, SYS_sendmsg, SYS_epoll_wait}) {
    data.nr = number;
    EXPECT_EQ(answer(filter, data), SECCOMP_RET_ALLOW);
  }
  for (const int number : {SYS_recvfrom, SYS_sendto}) {
    seccomp_data of_socket = data;
    of_socket.nr = number;
    EXPECT_EQ(answer(filter, of_socket), SECCOMP_RET_TRACE);
    of_socket.args[4] = of_socket.args[5] = 0;
    of_socket.args[0] = kCookies.first << 32 | 7;
    of_socket.args[3] = kCookies.second << 32 | MSG_DONTWAIT;
    EXPECT_EQ(answer(filter, of_socket), SECCOMP_RET_ALLOW);
    for (const int argument : {0, 3}) {
      of_socket.args[argument] ^= 1ull << 40;
      EXPECT_EQ(answer(filter, of_socket), SECCOMP_RET_TRACE);
      of_socket.args[argument] ^= 1ull << 40;
    }
    of_socket.nr = SYS_read;
    EXPECT_EQ(answer(filter, of_socket), SECCOMP_RET_TRACE);
  }
  data.nr = SYS_readv;
  EXPECT_EQ(answer(filter, data), SECCOMP_RET_TRACE);
  data.instruction_pointer = 0xffffffffff600002;  // of the vsyscall page
  EXPECT_EQ(answer(filter, data), SECCOMP_RET_ALLOW);
  data.instruction_pointer = 0x7f0000000000;
  data.nr = SYS_clock_gettime;
  data.arch = AUDIT_ARCH_I386;
  EXPECT_EQ(answer(filter, data), SECCOMP_RET_TRACE);
  data.arch = AUDIT_ARCH_X86_64;
  for (const uint64_t bit : {1ull, 1ull << 40}) {
    for (const int argument : {4, 5}) {
      data.args[argument] ^= bit;
      EXPECT_EQ(answer(filter, data), SECCOMP_RET_TRACE);
      data.args[argument] ^= bit;
    }
  }
}

TEST(Agent, HeadsOfTheVdsoJumpToItsCode) {
  Agent agent = agent_of_clock();
  VdsoCalls calls;
  calls.add({SYS_clock_gettime, 0x100});
  const auto writes = clock_code(agent, {0x7fff00000500}, {0x7fff00000000}, calls);
  ASSERT_THAT(writes, SizeIs(2));
  EXPECT_EQ(writes[0].bytes.size(), clock_code_bytes());
  EXPECT_THAT(writes[1].bytes, ElementsAre(0xe9, 0xfb, 0x03, 0, 0));  // 0x500 - 0x105
  EXPECT_EQ(plain_heads({0x7fff00000000}, calls)[0].bytes, (Bytes{0xb8, 228, 0, 0, 0}));
}

TEST(Agent, KnowsTheFunctionsOfDebiansCLibrary) {
  const Bytes code = file_function(SYS_pread64);
  const auto function = find_function(SYS_pread64, code);
  ASSERT_TRUE(function);
  EXPECT_EQ(function->head, kHead);
  EXPECT_EQ(function->threads, kHead + 7 + 0xe5211);
  EXPECT_TRUE(function->calls_at(kHead + 17));
  EXPECT_FALSE(function->with_threads);
  EXPECT_EQ(plain_heads(*function)[0].bytes, Bytes(code.begin(), code.begin() + 7));
  EXPECT_FALSE(find_function(SYS_pwrite64, code));
  EXPECT_FALSE(find_function(SYS_pread64, code, 18));
  for (size_t at = 0; at < code.size(); ++at) {
    Bytes other = code;
    other[at] ^= 1;
    const bool is_displacement = (at >= 2 && at < 6) || at == 11;
    EXPECT_EQ(find_function(SYS_pread64, other).has_value(), is_displacement) << at;
  }
  EXPECT_FALSE(find_function(SYS_pread64, Bytes(code.begin(), code.begin() + 24)));
}

TEST(Agent, KnowsReadByItsCallsWithThreadsAndWithout) {
  const Bytes code = read_function();
  for (const uint64_t call : {11, 74}) {
    const auto function = find_function(SYS_read, code, call);
    ASSERT_TRUE(function && function->with_threads) << call;
    EXPECT_EQ(function->head, kHead);
    EXPECT_TRUE(function->calls_at(kHead + 11) && function->calls_at(kHead + 74));
    EXPECT_EQ(code[74], 0x0f);
    const auto heads = plain_heads(*function);
    ASSERT_THAT(heads, SizeIs(2));
    for (const trace::MemoryWrite& head : heads) {
      const auto at = static_cast<ptrdiff_t>(head.address - kHead);
      const auto size = static_cast<ptrdiff_t>(head.bytes.size());
      EXPECT_EQ(head.bytes, Bytes(code.begin() + at, code.begin() + at + size));
    }
  }
  EXPECT_FALSE(find_function(SYS_write, code, 14));
}

TEST(Agent, KnowsEpollWaitByItsCallsWithThreadsAndWithout) {
  const Bytes code = epoll_wait_function();
  for (const uint64_t call : {17, 84}) {
    const auto function = find_function(SYS_epoll_wait, code, call);
    ASSERT_TRUE(function && function->with_threads) << call;
    EXPECT_TRUE(function->calls_at(kHead + 17) && function->calls_at(kHead + 84));
    const auto heads = plain_heads(*function);
    ASSERT_THAT(heads, SizeIs(2));
    for (const trace::MemoryWrite& head : heads) {
      const auto at = static_cast<ptrdiff_t>(head.address - kHead);
      const auto size = static_cast<ptrdiff_t>(head.bytes.size());
      EXPECT_EQ(head.bytes, Bytes(code.begin() + at, code.begin() + at + size));
    }
    Agent agent = agent_of_clock();
    EXPECT_TRUE(file_code(agent, {0x7f2000000000}, *function).empty());
    const auto writes = file_code(agent, {0x7f1000100000}, *function);
    ASSERT_THAT(writes, SizeIs(3));
    EXPECT_LE(writes[0].bytes.size(), kPageSize / Agent::most_functions());
  }
}

// Where it does not, all calls stop, and nothing but speed is lost: nobody would notice.
TEST(Agent, KnowsTheCLibraryThatIsInstalled) {
  const auto own_memory = [](GuestAddress from, uint64_t bytes) {
    const auto* const code = reinterpret_cast<const uint8_t*>(from.value);
    return Bytes(code, code + bytes);
  };
  struct Function {
    int32_t number;
    const char* name;
    uint64_t call;
  };
  for (const Function& one :
       {Function{SYS_pread64, "pread64", 17}, Function{SYS_pwrite64, "pwrite64", 17},
        Function{SYS_read, "read", 11}, Function{SYS_write, "write", 14},
        Function{SYS_writev, "writev", 14}, Function{SYS_sendmsg, "sendmsg", 14},
        Function{SYS_epoll_wait, "epoll_wait", 17}, Function{SYS_recvfrom, "recv", 23},
        Function{SYS_sendto, "send", 23}}) {
    const GuestAddress head{reinterpret_cast<uint64_t>(dlsym(RTLD_DEFAULT, one.name))};
    const auto function = FileFunction::find(one.number, head + one.call, own_memory);
    ASSERT_TRUE(function) << one.name;
    EXPECT_EQ(function->head, head) << one.name;
  }
}

TEST(Agent, CodeOfFilesIsNotPutWhereNoJumpReaches) {
  const auto function = find_function(SYS_pread64, file_function(SYS_pread64));
  ASSERT_TRUE(function);
  Agent agent = agent_of_clock();
  EXPECT_TRUE(file_code(agent, {0x7f2000000000}, *function).empty());
  EXPECT_FALSE(agent.code.contains(SYS_pread64));
  const auto writes = file_code(agent, {0x7f1000100000}, *function);
  ASSERT_THAT(writes, SizeIs(2));
  EXPECT_EQ(writes[1].address, function->head);
  EXPECT_TRUE(agent.code.contains(SYS_pread64));
}

TEST(Agent, ReadIsEnteredWithThreadsAndWithout) {
  const auto function = find_function(SYS_read, read_function(), 11);
  ASSERT_TRUE(function);
  Agent agent = agent_of_clock();
  EXPECT_TRUE(file_code(agent, {0x7f2000000000}, *function).empty());
  const auto writes = file_code(agent, {0x7f1000100000}, *function);
  ASSERT_THAT(writes, SizeIs(3));
  EXPECT_LE(writes[0].bytes.size(), kPageSize / Agent::most_functions());
  EXPECT_EQ(writes[1].address, function->head);
  EXPECT_EQ(writes[2].address, function->with_threads->loads);
  EXPECT_THAT(writes[2].bytes, SizeIs(5));
}

TEST(Agent, KnowsWhereItMayBeLeft) {
  const Agent agent = agent_of_clock();
  const AgentCode& code = agent.code.at(SYS_time);
  EXPECT_EQ(agent.within(code.begin - 1), nullptr);
  ASSERT_NE(agent.within(code.begin), nullptr);
  EXPECT_NE(agent.within(code.finished), nullptr);
  EXPECT_EQ(agent.within(code.traced), nullptr);
  EXPECT_FALSE(code.has_called(code.call));
  EXPECT_TRUE(code.has_called(code.called));
  EXPECT_FALSE(code.has_called(code.finished));
}

TEST(Agent, SlotsBecomeEvents) {
  const Agent agent = agent_of_clock();
  Bytes ring(Agent::ring_bytes());
  const auto put = [&ring](size_t slot, size_t field, uint64_t value) {
    std::memcpy(ring.data() + (slot << AGENT_SLOT_SHIFT) + field, &value, sizeof(value));
  };
  constexpr uint32_t kSlot = 5;
  put(kSlot, AGENT_NUMBER, SYS_clock_gettime);
  put(kSlot, AGENT_RSI, 0x7ffe00001000);
  put(kSlot, AGENT_RDI, 1);
  put(kSlot, AGENT_RBX, 77);
  put(kSlot, AGENT_FLAGS, 0x246);
  put(kSlot, AGENT_FS_BASE, 0x7f00deadb000);
  put(kSlot, AGENT_OUTPUT, 123);
  put(kSlot, AGENT_OUTPUT + 8, 456);
  Registers last;
  last.cs = 0x33;
  last.rbx = 1;
  const auto made = agent_event(agent, ring, AGENT_SLOTS * 3 + kSlot, last);
  ASSERT_TRUE(made);
  const trace::SyscallEvent& event = made->event;
  EXPECT_EQ(event.number, SYS_clock_gettime);
  EXPECT_EQ(event.before.pc(), agent.code.at(SYS_clock_gettime).call);
  EXPECT_EQ(event.before.rax, static_cast<uint64_t>(SYS_clock_gettime));
  EXPECT_EQ(event.before.rbx, 77u);
  EXPECT_EQ(event.before.cs, 0x33u);
  EXPECT_EQ(event.before.fs_base, 0x7f00deadb000u);
  EXPECT_EQ(event.before.r8, kCookies.first);
  EXPECT_EQ(event.after.rax, 0u);
  EXPECT_EQ(event.after.pc(), agent.code.at(SYS_clock_gettime).called);
  ASSERT_THAT(event.writes, SizeIs(1));
  EXPECT_EQ(event.writes[0].address, GuestAddress{0x7ffe00001000});
  EXPECT_EQ(event.writes[0].bytes[8], 456 & 0xff);
  EXPECT_FALSE(made->data);
  put(kSlot, AGENT_RESULT, static_cast<uint64_t>(-22));
  EXPECT_TRUE(agent_event(agent, ring, kSlot, last)->event.writes.empty());
  // The head's own index is that of a call that stopped.
  EXPECT_FALSE(agent_event(agent, ring, AGENT_SLOTS, last));
}

TEST(Agent, WhatIsReadOfAFileLiesBesideTheRing) {
  Agent agent = agent_of_clock();
  agent.data = {0x7f1000200000};
  const auto function = find_function(SYS_pread64, file_function(SYS_pread64));
  ASSERT_FALSE(file_code(agent, {0x7f1000100000}, *function).empty());
  Bytes ring(Agent::ring_bytes());
  const uint64_t slot[] = {SYS_pread64, 100, 4096, 8192};  // number, result, size, offset
  std::memcpy(ring.data() + (2 << AGENT_SLOT_SHIFT), slot, sizeof(slot));
  const auto made = agent_event(agent, ring, 2, {});
  ASSERT_TRUE(made && made->data);
  EXPECT_EQ(*made->data, range_of(agent.data + 2 * AGENT_DATA_BYTES, 100));
  EXPECT_EQ(made->event.before.rdx, 4096u);
  EXPECT_EQ(made->event.before.r10, 8192u);
}

TEST(Agent, WhatIsReadWithoutAnOffsetLiesWhereTheSlotSays) {
  Agent agent = agent_of_clock();
  const auto function = find_function(SYS_read, read_function(), 11);
  ASSERT_FALSE(file_code(agent, {0x7f1000100000}, *function).empty());
  Bytes ring(Agent::ring_bytes());
  const uint64_t slot[] = {SYS_read, 100, 16384, 0x7f1000250123};  // number, result, size, copy
  std::memcpy(ring.data() + (3 << AGENT_SLOT_SHIFT), slot, sizeof(slot));
  const auto made = agent_event(agent, ring, 3, {});
  ASSERT_TRUE(made && made->data);
  EXPECT_EQ(*made->data, range_of(GuestAddress{0x7f1000250123}, 100));
  EXPECT_EQ(made->event.before.rdx, 16384u);
  EXPECT_EQ(made->event.before.r10, 0u);
}

TEST(Agent, WhatAnEpollWaitHasFoundIsCountedInEvents) {
  Agent agent = agent_of_clock();
  const auto function = find_function(SYS_epoll_wait, epoll_wait_function());
  ASSERT_FALSE(file_code(agent, {0x7f1000100000}, *function).empty());
  Bytes ring(Agent::ring_bytes());
  const uint64_t slot[] = {SYS_epoll_wait, 3, 512, 0x7f1000250123};  // number, result, most, copy
  std::memcpy(ring.data() + (3 << AGENT_SLOT_SHIFT), slot, sizeof(slot));
  const auto made = agent_event(agent, ring, 3, {});
  ASSERT_TRUE(made && made->data);
  EXPECT_EQ(*made->data, range_of(GuestAddress{0x7f1000250123}, 36));
  EXPECT_EQ(made->event.before.rdx, 512u);
  EXPECT_EQ(made->event.before.r10, 0u);
}

TEST(Agent, APageHasRoomForTheCodeOfAllFunctions) {
  EXPECT_LE(file_code_bytes(), kPageSize / Agent::most_functions());
}

TEST(Agent, RecvAndSendHaveTheirCookiesInUpperHalves) {
  Agent agent = agent_of_clock();
  agent.code[SYS_recvfrom] = agent.code.at(SYS_time);
  Bytes ring(Agent::ring_bytes());
  const uint64_t slot[] = {SYS_recvfrom, 100, 16384, 0x7f1000250123};  // number, result, size, copy
  const uint32_t halves[] = {7, MSG_DONTWAIT};
  std::memcpy(ring.data() + (3 << AGENT_SLOT_SHIFT), slot, sizeof(slot));
  std::memcpy(ring.data() + (3 << AGENT_SLOT_SHIFT) + AGENT_RDI, halves, sizeof(halves));
  const auto made = agent_event(agent, ring, 3, {});
  ASSERT_TRUE(made && made->data);
  EXPECT_EQ(*made->data, range_of(GuestAddress{0x7f1000250123}, 100));
  EXPECT_EQ(made->event.before.rdi, 0x5566778800000007u);
  EXPECT_EQ(made->event.before.r10, 0xddeeff0000000040u);
  EXPECT_EQ(made->event.before.r8, 0u);
  EXPECT_EQ(made->event.before.r9, 0u);
  EXPECT_EQ(made->event.before.rdx, 16384u);
}

TEST(Agent, DescriptorsHaveABitEach) {
  Agent agent = agent_of_clock();
  agent.descriptors = {{3, {1, 2}}, {9, {1, 3}}, {15, {1, 4, Agent::Descriptor::Kind::kSocket}}};
  EXPECT_THAT(descriptor_byte(agent, 3).bytes, ElementsAre(8));
  EXPECT_EQ(descriptor_byte(agent, 3).address, agent.ring + AGENT_BITMAP);
  EXPECT_THAT(descriptor_byte(agent, 10).bytes, ElementsAre(0x82));
  EXPECT_EQ(descriptor_byte(agent, 10).address, agent.ring + AGENT_BITMAP + 1);
}

}  // namespace
}  // namespace rchk::record
