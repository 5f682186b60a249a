#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>

#include "engine/syscalls/outputs.h"

// Inside the library: how the outputs of one call are found.
namespace rchk::syscalls {

// Goes over what one call wrote. The same code runs twice: before the call, where each before()
// reads memory and keeps what it read, and what is named as written is dropped; and after it,
// where before() gives the kept bytes. So code must ask for what it needs of before without
// looking at the result first, and must not ask after() for what decides that.
class Walk {
 public:
  // Before the call; what is read goes to `saved`.
  Walk(const Call& call, const MemoryReader& memory, std::vector<SavedMemory>& saved);
  // After the call; what is written goes to `found`.
  Walk(const EntryState& entry, int64_t result, const MemoryReader& memory, Outputs& found);

  bool before_call() const { return found_ == nullptr; }
  const Call& call() const { return call_; }
  uint64_t argument(size_t index) const { return call_.arguments[index]; }
  GuestAddress pointer(size_t index) const { return {call_.arguments[index]}; }
  // 0 before the call.
  int64_t result() const { return result_; }
  bool succeeded() const { return !is_error(result_); }
  // True when a structure may have been stored: on success, and on EFAULT, which can come
  // from the last of several stores.
  bool may_have_stored() const { return succeeded() || result_ == -EFAULT; }

  // The value at `address` as it was when the call began; none where that was not readable.
  template <typename T>
  std::optional<T> before(GuestAddress address) {
    static_assert(std::is_trivially_copyable_v<T>);
    const SavedMemory& memory = before_bytes(address, sizeof(T));
    if (memory.bytes.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, memory.bytes.data(), sizeof(T));
    return value;
  }
  // The value at `address` now.
  template <typename T>
  std::optional<T> after(GuestAddress address) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    if (memory_.read(address, {reinterpret_cast<uint8_t*>(&value), sizeof(T)}) != sizeof(T)) {
      return std::nullopt;
    }
    return value;
  }

  // Names bytes as written. Null pointers and empty ranges are dropped.
  void wrote(GuestAddress address, uint64_t bytes);
  // Names the first `bytes` of a buffer of `capacity` as written. More when the kernel may have
  // stored bytes that it does not count; see outputs.cpp.
  void filled(GuestAddress buffer, uint64_t bytes, uint64_t capacity);
  // As filled(), for an array of `count` iovecs. Returns the array's whole capacity.
  uint64_t filled_vector(GuestAddress iovecs, uint64_t count, uint64_t bytes);
  // What was written is not known.
  void doubt(std::string what);

 private:
  const SavedMemory& before_bytes(GuestAddress address, size_t bytes);

  const Call& call_;
  const MemoryReader& memory_;
  int64_t result_ = 0;
  std::vector<SavedMemory>* saving_ = nullptr;
  const std::vector<SavedMemory>* saved_ = nullptr;
  size_t next_saved_ = 0;  // where the next before() is likely kept
  SavedMemory fallback_;
  Outputs* found_ = nullptr;
};

// Code for rows of syscalls.def, one function for each call that its arguments cannot describe.
// outputs_file.cpp
void fcntl_outputs(Walk& walk);
void mincore_outputs(Walk& walk);
void quotactl_outputs(Walk& walk);
void quotactl_fd_outputs(Walk& walk);
void file_handle_outputs(Walk& walk);
void getxattrat_outputs(Walk& walk);
void get_mempolicy_outputs(Walk& walk);
void move_pages_outputs(Walk& walk);
void poll_outputs(Walk& walk);
void select_outputs(Walk& walk);
// outputs_network.cpp
void recvmsg_outputs(Walk& walk);
void recvmmsg_outputs(Walk& walk);
void sendmmsg_outputs(Walk& walk);
void getsockopt_outputs(Walk& walk);
// outputs_process.cpp
void clone_outputs(Walk& walk);
void clone3_outputs(Walk& walk);
void prctl_outputs(Walk& walk);
void arch_prctl_outputs(Walk& walk);
void keyctl_outputs(Walk& walk);
void futex_outputs(Walk& walk);
void restart_outputs(Walk& walk);
// outputs_ipc.cpp
void semctl_outputs(Walk& walk);
void shmctl_outputs(Walk& walk);
void msgctl_outputs(Walk& walk);
void msgrcv_outputs(Walk& walk);
// ioctl.cpp
void ioctl_outputs(Walk& walk);

}  // namespace rchk::syscalls
