#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/registers.h"
#include "base/result.h"
#include "base/types.h"

namespace rchk::translate {

// Where the host's thread came to a stop.
struct HostStop {
  // 0: the thread executed a `syscall` instruction, which was not carried out; rax as it was
  // before is in registers.orig_rax, rcx and r11 are clobbered as by the instruction, rip is
  // behind it. Otherwise the number of the signal that stopped the thread (not delivered).
  int signal = 0;
  int signal_code = 0;         // si_code
  GuestAddress fault_address;  // si_addr of SIGSEGV, SIGBUS
  Registers registers;         // of the hardware thread
};

// What a page of guest code is, as far as its translations must know.
struct CodePage {
  bool executable = false;
  bool writable = false;  // by the guest's own view, whatever the engine protected
  // Changes whenever what is mapped at the page changes other than by a guest's store (mmap,
  // munmap, bytes written by a system call). Never reused for other contents.
  uint64_t version = 0;
  // Others may store to it, which no protection in this host keeps them from.
  bool shared = false;
};

// What the engine keeps for each puppet. Part of the puppet: a fork of a puppet copies it.
struct HostTranslationState {
  uint32_t arenas_mapped = 0;  // the first so many of the engine's arenas
  bool base_mapped = false;    // state page and branch table
  // Writable code pages made read-only by the engine, and which contents they have since then
  // (CodePageCopy::contents): those of a fork may differ from what was translated last.
  std::map<GuestAddress, uint64_t> protected_pages;
  uint64_t layout = 0;               // which engine, and which of its layouts, mapped them
  std::vector<AddressRange> mapped;  // base and arenas
  // The guest's FIP where the thread's is the address of translated code, else 0: see x87.h.
  GuestAddress x87_pointer;
  // Of a processor that loses them: StatePage::x87_pointers.
  static constexpr std::array<uint32_t, 4> kNoX87Pointers{0, 0, 0, 0xffff0000};
  std::array<uint32_t, 4> x87_pointers = kNoX87Pointers;
};

// The process in which translations run: one kernel thread, stopped between calls, that holds
// the guest's memory at the guest's addresses. The engine sees it through this interface alone.
class Host {
 public:
  virtual ~Host() = default;

  // Sets the thread's registers and lets it run until it executes a `syscall` instruction (which
  // is suppressed) or gets a signal. x87 and vector state are the guest's and stay in the thread.
  virtual Result<HostStop> resume(const Registers& registers) = 0;

  // Sets FIP, the address of the last x87 instruction, in the thread's x87 state.
  virtual Result<void> set_x87_pointer(GuestAddress pointer) = 0;

  // Copies guest memory; returns how many bytes from `address` on were readable.
  virtual size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) = 0;

  virtual CodePage code_page(GuestAddress page) = 0;

  // Takes the guest's right to write away from a page, or gives it back, in the process alone:
  // code_page() goes on saying what the guest's view is.
  virtual Result<void> protect_code_page(GuestAddress page, bool read_only) = 0;

  // Maps `size_bytes` of the file `memfd` (a descriptor of the calling process) at `offset` with
  // MAP_SHARED at exactly `address`, which is free. `protection`: PROT_ bits.
  virtual Result<void> map_shared(GuestAddress address, uint64_t size_bytes, int memfd,
                                  uint64_t offset_bytes, int protection) = 0;
  virtual Result<void> unmap(AddressRange range) = 0;

  // A free range of `size_bytes` whose every byte is within 2 GiB of every byte of `code`, or
  // nothing. Prefers places where the kernel would not put a new mapping by itself.
  virtual std::optional<GuestAddress> free_range_near(AddressRange code, uint64_t size_bytes) = 0;

  virtual HostTranslationState& translation_state() = 0;
};

}  // namespace rchk::translate
