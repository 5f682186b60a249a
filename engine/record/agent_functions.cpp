// The functions of the C library that an agent knows.

#include <cstring>
#include <string_view>

#include <sys/syscall.h>

#include "engine/record/agent.h"

namespace rchk::record {

namespace {

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

}  // namespace

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
      int32_t displacement = 0;
      std::memcpy(&displacement, code.data() + kDisplacement, sizeof(displacement));
      function.threads = {function.second().value + static_cast<uint64_t>(int64_t{displacement})};
      function.call = head + known.call;
      if (known.loads != 0) {
        function.with_threads = WithThreads{head + known.loads, head + known.call_with_threads};
      }
      return function;
    }
  }
  return std::nullopt;
}

bool FileFunction::has_four() const { return number == SYS_epoll_wait || is_of_socket(number); }

}  // namespace rchk::record
