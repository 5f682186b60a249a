#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>

#include "base/fd.h"
#include "base/registers.h"
#include "base/result.h"
#include "base/types.h"
#include "engine/trace/event.h"
#include "engine/tracee/tracee.h"
#include "engine/translate/host.h"
#include "snapshot/address_space.h"

namespace rchk::replay {

// Where rchk's own pages live in a puppet, below anything that a guest maps by itself:
//
//   0x10000  gadget page: a `syscall` instruction for remote system calls, scratch space
//   0x20000  the translation engine's state page and branch tables, where they fit
//   0x400000 the lowest address of a program that is not position independent
inline constexpr GuestAddress kGadgetPage{0x10000};

// The process in which a replay runs: one kernel thread, stopped between calls, that holds the
// guest's memory and nothing else. It never executes the program: guest code is data to it, and
// what it runs are translations. A fork of it is a checkpoint.
class Puppet final : public translate::Host {
 public:
  // An empty one.
  static Result<std::unique_ptr<Puppet>> create(std::optional<int> cpu);
  // One made of a fork of the recorded process: `space` says what is mapped. `gadget` is the
  // address of a `syscall` instruction in it, for the first steps.
  static Result<std::unique_ptr<Puppet>> adopt(tracee::Tracee process, GuestAddress gadget,
                                               snapshot::AddressSpace space);

  Result<std::unique_ptr<Puppet>> fork();

  // The guest's memory, whatever its access rights; rchk's own pages read as not mapped.
  size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) override;
  Result<void> write_memory(GuestAddress address, std::span<const uint8_t> bytes);
  const snapshot::AddressSpace& space() const { return space_; }

  // Does in this process what a system call did in the recorded one. `contents` and
  // `contents_offset` give the file contents of a MapChange that has a backing: a descriptor of
  // this process's and the offset of the first byte in it; `available_bytes` of it are there,
  // the rest of the mapping lies behind the file's end.
  struct Contents {
    int fd = -1;
    uint64_t offset_bytes = 0;
    uint64_t available_bytes = 0;
  };
  Result<void> map(const snapshot::Mapping& mapping, const Contents& contents);
  Result<void> unmap_guest(AddressRange range);
  Result<void> protect(AddressRange range, uint8_t protection);
  Result<void> remap(const trace::RemapChange& change);
  Result<void> discard(AddressRange range);

  Result<ExtendedState> extended_state() const { return process_.extended_state(); }
  Result<void> set_extended_state(const ExtendedState& state) {
    return process_.set_extended_state(state);
  }
  Result<void> set_registers(const Registers& registers);
  pid_t pid() const { return process_.pid(); }

  // translate::Host
  Result<translate::HostStop> resume(const Registers& registers) override;
  translate::CodePage code_page(GuestAddress page) override;
  Result<void> protect_code_page(GuestAddress page, bool read_only) override;
  Result<void> map_shared(GuestAddress address, uint64_t size_bytes, int memfd,
                          uint64_t offset_bytes, int protection) override;
  Result<void> unmap(AddressRange range) override;
  std::optional<GuestAddress> free_range_near(AddressRange code, uint64_t size_bytes) override;
  translate::HostTranslationState& translation_state() override { return translation_; }

 private:
  explicit Puppet(tracee::Tracee process) : process_(std::move(process)) {}

  // A system call in the process that must not fail; `what` is for the error.
  Result<int64_t> call(const char* what, int64_t number, std::array<uint64_t, 6> arguments);
  // The number that descriptor `fd` of rchk's own has in the process, opened there on first use.
  Result<int> descriptor(int fd);
  // Notes that what `range` holds is not what it was.
  void touch_code(AddressRange range);

  tracee::Tracee process_;
  GuestAddress gadget_ = kGadgetPage;
  snapshot::AddressSpace space_;
  std::map<GuestAddress, AddressRange> own_ranges_;  // mapped here by the engine
  std::unordered_map<GuestAddress, uint64_t> code_versions_;
  std::map<int, int> descriptors_;
  translate::HostTranslationState translation_;
};

}  // namespace rchk::replay
