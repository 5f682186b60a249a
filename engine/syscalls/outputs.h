#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"
#include "engine/syscalls/memory_reader.h"
#include "engine/syscalls/syscall.h"

namespace rchk::syscalls {

// Guest memory as it was before a call, where the call overwrites what says how much it writes
// (lengths, iovecs, message headers).
struct SavedMemory {
  GuestAddress address;
  uint32_t asked_bytes = 0;
  std::vector<uint8_t> bytes;  // fewer than asked_bytes where memory was not readable
  bool operator==(const SavedMemory&) const = default;
};

// What outputs() must know from before the call ran. A value; a recorder keeps it for each
// thread that is in a call, and across restart_syscall.
struct EntryState {
  Call call;
  std::vector<SavedMemory> saved;
};

// What the kernel may have written to the guest's memory in one call.
struct Outputs {
  // Sorted, without overlaps. An upper bound where exactness is impossible: storing unchanged
  // bytes again is harmless, a missed one is not. May reach into memory that is not mapped or
  // not writable: the recorder clips. Ranges the size of buffers, not of what is in them, appear
  // only where the kernel does not say how much it wrote.
  std::vector<AddressRange> ranges;
  // Written as well if the descriptor read from is in direct mode, which the call does not show:
  // a direct read that meets the end of the file stores past what it counts. Belongs to `ranges`
  // once the guest has made a call for which may_open_direct() is true.
  std::vector<AddressRange> ranges_if_direct;
  // False when the table cannot tell: `ranges` then holds what is likely, `doubt` says what is
  // unknown, and the recorder has to find changed memory by comparing it.
  bool complete = true;
  std::string doubt;
};

// Call it after the entry stop, before the kernel runs the call; reads memory only for calls
// that need it. A number that the table does not know gives a state with nothing saved.
EntryState at_entry(const Call& call, const MemoryReader& memory);

// What the call that `entry` describes may have written, given its result (or -errno, the
// internal restart codes included) and the memory as it is now.
//
// Left out, for they happen outside of any call's result: the word of set_tid_address and the
// robust futex list, both written when a thread ends; a new thread's CLONE_CHILD_SETTID word,
// written when it first runs (named here for CLONE_VM, but perhaps not written yet); signal
// frames; and memory that is shared with files and other processes.
Outputs outputs(const EntryState& entry, int64_t result, const MemoryReader& memory);

// The flags (O_RDONLY...) that a call opens a file with; nothing of one that does not.
std::optional<uint64_t> open_flags(const Call& call, const MemoryReader& memory);

// True for calls that open a file with O_DIRECT, or set it.
bool may_open_direct(const EntryState& entry, const MemoryReader& memory);

}  // namespace rchk::syscalls
