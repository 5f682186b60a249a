#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/registers.h"
#include "base/result.h"
#include "base/types.h"
#include "engine/trace/event.h"
#include "engine/trace/source.h"
#include "engine/tracee/tracee.h"
#include "engine/translate/host.h"
#include "snapshot/address_space.h"

namespace rchk::replay {

// Where rchk's own pages live in a puppet, below anything that most guests map:
//
//   0x10000  gadget page: a `syscall` instruction for remote system calls, scratch space
//   0x20000  the translation engine's state page and branch tables, where they fit
//   0x400000 the lowest address of a program that is not position independent
//
// Each moves away when a guest maps something there, or is about to fault there.
inline constexpr GuestAddress kGadgetPage{0x10000};

// Tells the file behind a shared mapping from others, by the recording machine's numbers.
struct SharedFile {
  uint64_t device = 0;
  uint64_t inode = 0;
  auto operator<=>(const SharedFile&) const = default;
};

// Memory of shared files that several puppets have in common: those of a tree of processes that is
// replayed as a whole.
struct SharedObjects {
  std::map<SharedFile, std::weak_ptr<const FileDescriptor>> objects;
};

// What a fork of a puppet has of the memory that its guest shares with others.
enum class Sharing : uint8_t {
  kCopy,   // a copy, so that neither sees what the other does: for checkpoints
  kShare,  // the same: for a process of the guest's that forks
};

// The process in which a replay runs: one kernel thread, stopped between calls, that holds the
// guest's memory and nothing else. It never executes the program: guest code is data to it, and
// what it runs are translations. A fork of it is a checkpoint.
class Puppet final : public translate::Host {
 public:
  // An empty one.
  static Result<std::unique_ptr<Puppet>> create(std::optional<int> cpu);
  // One made of a fork of the recorded process, which still shares memory with it.
  struct Forked {
    tracee::Tracee process;
    GuestAddress gadget;           // a `syscall` instruction in it, for the first steps
    snapshot::AddressSpace space;  // what is mapped
    // Copies memory of the recorded process, as it was when it was forked.
    std::function<size_t(GuestAddress, std::span<uint8_t>)> read_original;
  };
  // `log` knows the files that are mapped.
  static Result<std::unique_ptr<Puppet>> adopt(Forked forked, const trace::EventSource& log);

  Result<std::unique_ptr<Puppet>> fork(Sharing sharing = Sharing::kCopy);
  // Makes memory that the guest shares that of all puppets with the same `objects`.
  // REQUIRES: nothing is mapped yet.
  void share_through(std::shared_ptr<SharedObjects> objects) { common_ = std::move(objects); }

  // The guest's memory, whatever its access rights; rchk's own pages read as not mapped.
  size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) override;
  // The same, and the stack grows to there if it may by the guest's own limit: for a page that it
  // grew to without an instruction that has come to its end.
  size_t read_grown_memory(GuestAddress address, std::span<uint8_t> bytes);
  // A context switch of the recorded guest: see processor_loses_x87_pointers().
  void lose_x87_pointers() { translation_.x87_pointers = translation_.kNoX87Pointers; }
  Result<void> write_memory(GuestAddress address, std::span<const uint8_t> bytes);
  // What is mapped; stacks as they were at the last grow_stacks().
  const snapshot::AddressSpace& space() const { return space_; }
  // The kernel makes stacks longer when they are used: takes that into space().
  Result<void> grow_stacks();
  // Nothing of rchk's own is to be put into `range` from now on: the guest is about to find that it
  // is not mapped. What the engine has there already is to be moved by it (Engine::make_room).
  Result<void> keep_clear(AddressRange range);
  // How far stacks grow (RLIMIT_STACK).
  Result<void> set_stack_limit(uint64_t bytes);
  // Where stacks may grow to, as far as room is kept for them.
  std::vector<AddressRange> stack_rooms() const;

  // Does in this process what a system call did in the recorded one. `contents` and
  // `contents_offset` give the file contents of a MapChange that has a backing: a descriptor of
  // this process's and the offset of the first byte in it; `available_bytes` of it are there,
  // the rest of the mapping lies behind the file's end.
  struct Contents {
    int fd = -1;
    uint64_t offset_bytes = 0;
    uint64_t available_bytes = 0;
    // The same for all mappings of one file that are shared.
    SharedFile file;
    uint64_t file_size_bytes = 0;
  };
  Result<void> map(const snapshot::Mapping& mapping, const Contents& contents);
  Result<void> unmap_guest(AddressRange range);
  Result<void> protect(AddressRange range, uint8_t protection);
  Result<void> remap(const trace::RemapChange& change);
  Result<void> discard(AddressRange range);
  // Takes pages of shared memory out of the page table, until they are used again.
  Result<void> forget_use_of(AddressRange range);

  Result<ExtendedState> extended_state() const;
  Result<void> set_extended_state(const ExtendedState& state);
  Result<void> set_registers(const Registers& registers);
  pid_t pid() const { return process_.pid(); }
  // Tells puppets apart that have had the same pid.
  uint64_t serial() const { return serial_; }
  // How many forks were made of it, and how often it moved memory: for dirty trackers.
  uint64_t forks() const { return forks_; }
  uint64_t moves() const { return moves_; }

  // translate::Host
  Result<translate::HostStop> resume(const Registers& registers) override;
  Result<void> set_x87_pointer(GuestAddress pointer) override;
  translate::CodePage code_page(GuestAddress page) override;
  Result<void> protect_code_page(GuestAddress page, bool read_only) override;
  Result<void> map_shared(GuestAddress address, uint64_t size_bytes, int memfd,
                          uint64_t offset_bytes, int protection) override;
  Result<void> unmap(AddressRange range) override;
  std::optional<GuestAddress> free_range_near(AddressRange code, uint64_t size_bytes) override;
  translate::HostTranslationState& translation_state() override { return translation_; }

 private:
  explicit Puppet(tracee::Tracee process) : process_(std::move(process)), serial_(next_serial()) {}
  static uint64_t next_serial();

  // A system call in the process that must not fail; `what` is for the error.
  Result<int64_t> call(const char* what, int64_t number, std::array<uint64_t, 6> arguments);
  // The number that descriptor `fd` of rchk's own has in the process, opened there on first use.
  Result<int> descriptor(int fd);
  // Opens it there anew; the caller closes it.
  Result<int> open_here(int fd);
  // What of a range has changed: what is mapped there, with the protection that it has, or what it
  // holds.
  enum class Touched : uint8_t { kMapping, kContents };
  void touch_code(AddressRange range, Touched what = Touched::kMapping);
  // Puts the gadget page where neither `range` nor anything else is, if it lies in `range`.
  Result<void> move_gadget(AddressRange range);
  Result<void> place_gadget(AddressRange avoided);
  Result<void> execute_base_writes(const Registers& registers);
  AddressRange gadget_page() const { return range_of(gadget_.page_floor(), kPageSize); }

  // puppet_mappings.cpp
  uint64_t stack_room() const;
  Result<void> remap_parts(const trace::RemapChange& change);

  // puppet_shared.cpp
  bool is_object(const snapshot::Mapping& mapping) const;
  Result<void> map_shared_file(const snapshot::Mapping& mapping, const Contents& contents);
  using Read = std::function<size_t(GuestAddress, std::span<uint8_t>)>;
  // Gives it memory of its own where it shares with the recorded process.
  Result<void> stop_sharing(const Read& read_original, const trace::EventSource& log);
  Result<void> map_private_copy(const snapshot::Mapping& mapping, const Read& read);
  // Makes the file's mappings views of one memory, if they are not yet; `read` says what it holds.
  Result<void> make_object(SharedFile file, const Read& read);
  Result<void> make_object(SharedFile file) {
    return make_object(file, [this](GuestAddress address, std::span<uint8_t> bytes) {
      return process_.read_memory(address, bytes);
    });
  }
  Result<void> map_object(const snapshot::Mapping& mapping);
  Result<void> copy_objects_to(Puppet& child);
  // REQUIRES: `bytes` lie in one page.
  Result<void> write_shared(GuestAddress address, std::span<const uint8_t> bytes);
  // For a store that faulted because the engine protected another view of the page: the address
  // in that view.
  GuestAddress protected_view(GuestAddress fault) const;
  // Other addresses of the memory at `page`, itself included; empty if it is not shared.
  std::vector<GuestAddress> views_of(GuestAddress page) const;

  tracee::Tracee process_;
  uint64_t serial_;
  uint64_t forks_ = 0, moves_ = 0;
  GuestAddress gadget_ = kGadgetPage;
  snapshot::AddressSpace space_;
  std::map<GuestAddress, AddressRange> own_ranges_;  // mapped here by the engine
  snapshot::RangeSet kept_clear_;                    // normalized
  uint64_t first_code_version_ = 0;  // of pages that have been the same since it was adopted
  std::unordered_map<GuestAddress, uint64_t> code_versions_;
  std::map<int, int> descriptors_;
  // Files that the guest may change through shared mappings: one memory for all views of each.
  std::map<SharedFile, std::shared_ptr<const FileDescriptor>> objects_;
  std::shared_ptr<SharedObjects> common_;  // null: no other puppet shares memory with this one
  std::map<snapshot::FileId, SharedFile> shared_files_;  // of shared mappings
  translate::HostTranslationState translation_;
};

}  // namespace rchk::replay
