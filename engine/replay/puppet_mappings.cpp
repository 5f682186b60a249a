// What is mapped in a puppet: as in the recorded process, but for pages of rchk's own.

#include <algorithm>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "engine/replay/puppet.h"

namespace rchk::replay {

namespace {

// What the kernel keeps free below a stack (Documentation/admin-guide/kernel-parameters.txt,
// stack_guard_gap), in bytes.
constexpr uint64_t kStackGapBytes = 256 * kPageSize;

}  // namespace

Result<void> Puppet::map(const snapshot::Mapping& mapping, const Contents& contents) {
  const AddressRange range = mapping.range;
  RCHK_TRY(move_gadget(range));
  touch_code(range);
  if (mapping.shared && mapping.backing) {
    shared_files_[mapping.backing->file] = contents.file;
    if (mapping.writable() || objects_.count(contents.file) != 0 || common_ != nullptr) {
      // What is mapped here now may be another view: it must not be taken for one.
      space_.unmap(range);
      RCHK_TRY(map_shared_file(mapping, contents));
      space_.map(mapping);
      touch_code(range);
      return {};
    }
  }
  uint64_t from_file = 0;
  if (contents.fd >= 0 && contents.available_bytes > 0) {
    from_file = std::min(range.size(), GuestAddress{contents.available_bytes}.page_ceiling().value);
    RCHK_TRY_ASSIGN(const int fd, descriptor(contents.fd));
    RCHK_TRY(call(
        "mmap", SYS_mmap,
        {range.begin.value, from_file, mapping.protection, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
         static_cast<uint64_t>(fd), contents.offset_bytes}));
  }
  if (from_file < range.size()) {
    // Behind the end of a file a private mapping raises SIGBUS; a shared one may come to life
    // when the file grows.
    const bool faults = mapping.backing.has_value() && !mapping.shared;
    const bool is_common = common_ != nullptr && mapping.shared && !mapping.backing;
    uint64_t flags = MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    flags |= is_common ? MAP_SHARED : MAP_PRIVATE;
    if (mapping.grows_down) flags |= MAP_GROWSDOWN | MAP_STACK;
    RCHK_TRY(call("mmap", SYS_mmap,
                  {range.begin.value + from_file, range.size() - from_file,
                   faults ? uint64_t{PROT_NONE} : mapping.protection, flags, ~0ull, 0}));
  }
  space_.map(mapping);
  touch_code(range);
  return {};
}

Result<void> Puppet::unmap_guest(AddressRange range) {
  touch_code(range);
  // What the guest knows nothing of stays.
  std::vector<AddressRange> kept{gadget_page()};
  for (const auto& [begin, own] : own_ranges_) kept.push_back(own);
  std::sort(kept.begin(), kept.end());
  GuestAddress at = range.begin;
  kept.push_back({range.end, range.end});
  for (const AddressRange& next : kept) {
    const AddressRange gap{at, std::min(next.begin, range.end)};
    if (!gap.empty()) RCHK_TRY(call("munmap", SYS_munmap, {gap.begin.value, gap.size()}));
    at = std::max(at, next.end);
  }
  space_.unmap(range);
  return {};
}

Result<void> Puppet::protect(AddressRange range, uint8_t protection) {
  touch_code(range);
  if ((protection & PROT_WRITE) != 0) {
    for (const snapshot::Mapping& mapping : space_.overlapping(range)) {
      if (!mapping.shared || !mapping.backing) continue;
      const auto file = shared_files_.find(mapping.backing->file);
      if (file != shared_files_.end()) RCHK_TRY(make_object(file->second));
    }
  }
  RCHK_TRY(call("mprotect", SYS_mprotect, {range.begin.value, range.size(), protection}));
  space_.protect(range, protection);
  touch_code(range);
  return {};
}

Result<void> Puppet::remap(const trace::RemapChange& change) {
  ++moves_;
  RCHK_TRY(move_gadget(change.to));
  // A page that the engine has made read-only would stay so at its new place, unknown to the
  // engine.
  std::vector<GuestAddress> read_only;
  for (const auto& [page, contents] : translation_.protected_pages) {
    if (change.from.contains(page)) read_only.push_back(page);
  }
  for (const GuestAddress page : read_only) RCHK_TRY(protect_code_page(page, false));
  touch_code(change.from);
  touch_code(change.to);
  RCHK_TRY(remap_parts(change));
  const std::vector<snapshot::Mapping> kept = space_.overlapping(change.from);
  space_.remap(change.from, change.to.begin, change.to.size());
  if (change.keep_old) {
    for (const snapshot::Mapping& mapping : kept) space_.map(mapping);
  }
  touch_code(change.to);
  return {};
}

// What is one mapping of the guest's may be several here: each part of a file is one, and what lies
// behind its end. mremap takes no range of two.
Result<void> Puppet::remap_parts(const trace::RemapChange& change) {
  const bool moves = change.from.begin != change.to.begin;
  uint64_t flags = moves ? MREMAP_MAYMOVE | MREMAP_FIXED : 0;
  if (change.keep_old) flags |= MREMAP_DONTUNMAP;
  const auto remap_one = [&](AddressRange from, AddressRange to) {
    return process_.remote_syscall(
        gadget_, SYS_mremap, {from.begin.value, from.size(), to.size(), flags, to.begin.value, 0});
  };
  RCHK_TRY_ASSIGN(int64_t result, remap_one(change.from, change.to));
  std::vector<snapshot::ProcMapsEntry> maps;
  if (result == -EFAULT) {
    RCHK_TRY_ASSIGN(maps, snapshot::read_proc_maps(process_.pid()));
  }
  for (const snapshot::ProcMapsEntry& entry : maps) {
    const AddressRange part{std::max(entry.range.begin, change.from.begin),
                            std::min(entry.range.end, change.from.end)};
    if (part.begin >= part.end) continue;
    const bool is_last = part.end == change.from.end;
    const GuestAddress begin = change.to.begin + (part.begin - change.from.begin);
    const GuestAddress end = is_last ? change.to.end : std::min(begin + part.size(), change.to.end);
    if (begin >= end) {
      RCHK_TRY(call("munmap", SYS_munmap, {part.begin.value, part.size()}));
      continue;
    }
    const AddressRange to{begin, end};
    if (!moves && to == part) continue;
    RCHK_TRY_ASSIGN(result, remap_one(part, to));
    if (result < 0) break;
  }
  if (result >= 0 || result < -4096) return {};
  return fail_errno("mremap in the replay process", static_cast<int>(-result));
}

Result<void> Puppet::discard(AddressRange range) {
  touch_code(range, Touched::kContents);
  RCHK_TRY(call("madvise", SYS_madvise, {range.begin.value, range.size(), MADV_DONTNEED}));
  if (common_ == nullptr) return {};
  // That takes nothing from what other puppets have as well.
  constexpr uint64_t kPieceBytes = 1 << 20;
  for (const snapshot::Mapping& mapping : space_.overlapping(range)) {
    if (!mapping.shared || mapping.backing) continue;
    const GuestAddress end = std::min(mapping.range.end, range.end);
    for (GuestAddress at = std::max(mapping.range.begin, range.begin); at < end;
         at = at + kPieceBytes) {
      RCHK_TRY(write_memory(at, Bytes(std::min(kPieceBytes, end - at))));
    }
  }
  return {};
}

Result<void> Puppet::forget_use_of(AddressRange range) {
  RCHK_TRY(call("madvise", SYS_madvise, {range.begin.value, range.size(), MADV_DONTNEED}));
  return {};
}

Result<void> Puppet::grow_stacks() {
  std::vector<snapshot::Mapping> stacks;
  for (const auto& [begin, mapping] : space_.mappings()) {
    if (mapping.grows_down) stacks.push_back(mapping);
  }
  if (stacks.empty()) return {};
  RCHK_TRY_ASSIGN(const auto maps, snapshot::read_proc_maps(process_.pid()));
  for (snapshot::Mapping& stack : stacks) {
    for (const snapshot::ProcMapsEntry& entry : maps) {
      const AddressRange added{entry.range.begin, stack.range.begin};
      if (!entry.range.contains(stack.range.begin) || added.begin >= added.end) continue;
      // What lies below and was mapped for another reason is no growth.
      if (!space_.overlapping(added).empty()) continue;
      stack.range.begin = added.begin;
      space_.map(stack);
      break;
    }
  }
  return {};
}

size_t Puppet::read_grown_memory(GuestAddress address, std::span<uint8_t> bytes) {
  const size_t got = read_memory(address, bytes);
  if (got == bytes.size()) return got;
  // The kernel goes by the limit of who reads (mm/mmap.c, acct_stack_growth).
  rlimit own{}, guests{};
  if (getrlimit(RLIMIT_STACK, &own) != 0) return got;
  if (prlimit(process_.pid(), RLIMIT_STACK, nullptr, &guests) != 0) return got;
  rlimit raised = own;
  raised.rlim_cur = std::min(guests.rlim_cur, own.rlim_max);
  if (raised.rlim_cur <= own.rlim_cur || setrlimit(RLIMIT_STACK, &raised) != 0) return got;
  const size_t grown = read_memory(address, bytes);
  setrlimit(RLIMIT_STACK, &own);
  return grown;
}

Result<void> Puppet::set_stack_limit(uint64_t bytes) {
  rlimit limit{};
  if (prlimit(process_.pid(), RLIMIT_STACK, nullptr, &limit) != 0) return fail_errno("prlimit");
  limit.rlim_cur = std::min<uint64_t>(bytes, limit.rlim_max);
  if (prlimit(process_.pid(), RLIMIT_STACK, &limit, nullptr) != 0) {
    return fail_errno("setting the limit of the stack's size as recorded");
  }
  return {};
}

// How much below a stack is to stay free of what is not the guest's.
uint64_t Puppet::stack_room() const {
  constexpr uint64_t kLeast = 48ull << 20, kMost = 1ull << 30;
  rlimit limit{};
  if (prlimit(process_.pid(), RLIMIT_STACK, nullptr, &limit) != 0) return kLeast;
  return std::clamp<uint64_t>(limit.rlim_cur, kLeast, kMost) + kStackGapBytes;
}

std::vector<AddressRange> Puppet::stack_rooms() const {
  std::vector<AddressRange> rooms;
  const uint64_t room_bytes = stack_room();
  for (const auto& [begin, mapping] : space_.mappings()) {
    if (!mapping.grows_down) continue;
    rooms.push_back({begin - std::min(begin.value, room_bytes), begin});
  }
  return rooms;
}

}  // namespace rchk::replay
