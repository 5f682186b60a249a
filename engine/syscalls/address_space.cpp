#include "engine/syscalls/address_space.h"

#include <cerrno>

#include <sys/mman.h>

namespace rchk::syscalls {
namespace {

constexpr uint64_t kHugeShift = 26;  // MAP_HUGE_SHIFT: log2 of the size of huge pages in flags
constexpr uint64_t kHugeMask = 0x3f;
constexpr uint64_t kHugeDefault = 21;
constexpr uint64_t kProtectionMask = PROT_READ | PROT_WRITE | PROT_EXEC;
constexpr int kDontneedLocked = 24;  // MADV_DONTNEED_LOCKED, 5.18
constexpr uint64_t kDontUnmap = 4;   // MREMAP_DONTUNMAP
constexpr uint64_t kSharedValidate = 3;

// Addresses and lengths of this ABI are rounded up to whole pages (mm/mmap.c, PAGE_ALIGN).
AddressRange pages_of(uint64_t address, uint64_t bytes) {
  return {GuestAddress{address}, GuestAddress{address + bytes}.page_ceiling()};
}

uint8_t protection_of(uint64_t bits) { return static_cast<uint8_t>(bits & kProtectionMask); }

void mmap_effects(const Call& call, int64_t result, AddressSpaceEffects& out) {
  const uint64_t flags = call.arguments[3];
  if (is_error(result)) {
    // What lay under a fixed mapping may be gone already (mm/vma.c, __mmap_region).
    out.reread_maps = (flags & MAP_FIXED) != 0 && result != -EINVAL && result != -EBADF;
    return;
  }
  MapEffect map;
  const auto address = static_cast<uint64_t>(result);
  map.range = pages_of(address, call.arguments[1]);
  if ((flags & MAP_HUGETLB) != 0) {
    const uint64_t shift = (flags >> kHugeShift) & kHugeMask;
    const uint64_t huge = uint64_t{1} << (shift != 0 ? shift : kHugeDefault);
    map.range.end = {address + (call.arguments[1] + huge - 1) / huge * huge};
  }
  map.protection = protection_of(call.arguments[2]);
  const uint64_t type = flags & MAP_TYPE;
  map.shared = type == MAP_SHARED || type == kSharedValidate;
  map.grows_down = (flags & MAP_GROWSDOWN) != 0;
  if ((flags & MAP_ANONYMOUS) == 0) {
    map.backing = Backing::kDescriptor;
    map.descriptor = call.descriptor(4);
    map.offset_bytes = call.arguments[5];
  }
  out.effects.emplace_back(map);
}

void mprotect_effects(const Call& call, int64_t result, AddressSpaceEffects& out) {
  if (is_error(result)) {
    // The mappings before the one that failed have changed (mm/mprotect.c, do_mprotect_pkey).
    out.reread_maps = result != -EINVAL;
    return;
  }
  const AddressRange range = pages_of(call.arguments[0], call.arguments[1]);
  if (range.empty()) return;
  ProtectEffect protect{range, protection_of(call.arguments[2]), false};
  protect.to_mapping_start = (call.arguments[2] & PROT_GROWSDOWN) != 0;
  out.effects.emplace_back(protect);
}

// brk has no error: it returns the break, moved or not.
void brk_effects(int64_t result, GuestAddress previous, AddressSpaceEffects& out) {
  const GuestAddress before = previous.page_ceiling();
  const GuestAddress now = GuestAddress{static_cast<uint64_t>(result)}.page_ceiling();
  if (now < before) out.effects.emplace_back(UnmapEffect{{now, before}});
  if (before < now) {
    MapEffect map;
    map.range = {before, now};
    map.protection = PROT_READ | PROT_WRITE;
    map.heap = true;
    out.effects.emplace_back(map);
  }
}

void mremap_effects(const Call& call, int64_t result, AddressSpaceEffects& out) {
  const uint64_t flags = call.arguments[3];
  if (is_error(result)) {
    // The target is unmapped, and a shrinking one cut, before the move can fail (mm/mremap.c).
    out.reread_maps = result != -EINVAL;
    return;
  }
  const auto address = static_cast<uint64_t>(result);
  if (call.arguments[1] == 0) {
    out.reread_maps = true;  // a second mapping of shared memory; the first is not named
    return;
  }
  RemapEffect remap;
  remap.from = pages_of(call.arguments[0], call.arguments[1]);
  remap.to = pages_of(address, call.arguments[2]);
  remap.keep_old = (flags & kDontUnmap) != 0 && remap.from.begin != remap.to.begin;
  if (remap.from == remap.to) return;
  out.effects.emplace_back(remap);
}

std::optional<ForkAdvice> fork_advice(int advice) {
  switch (advice) {
    case MADV_DONTFORK:
      return ForkAdvice::kOmit;
    case MADV_DOFORK:
      return ForkAdvice::kCopy;
    case MADV_WIPEONFORK:
      return ForkAdvice::kWipe;
    case MADV_KEEPONFORK:
      return ForkAdvice::kKeep;
    default:
      return std::nullopt;
  }
}

void madvise_effects(const Call& call, int64_t result, AddressSpaceEffects& out) {
  const AddressRange range = pages_of(call.arguments[0], call.arguments[1]);
  if (range.empty()) return;
  const auto advice = static_cast<int>(call.arguments[2]);
  // ENOMEM says that parts are not mapped; the others were advised all the same
  // (mm/madvise.c, madvise_walk_vmas). Other errors stop at the mapping that made them.
  const bool done = !is_error(result) || result == -ENOMEM;
  switch (advice) {
    case MADV_DONTNEED:
    case kDontneedLocked:
      if (done) {
        out.effects.emplace_back(DiscardEffect{range, Refill::kFresh});
      } else {
        out.doubtful_contents.push_back(range);
      }
      return;
    case MADV_REMOVE:
      if (done) {
        out.effects.emplace_back(DiscardEffect{range, Refill::kZero});
      } else {
        out.doubtful_contents.push_back(range);
      }
      return;
    case MADV_FREE:  // see refusal(): a recorder does not make this call
    case MADV_HWPOISON:
      out.doubtful_contents.push_back(range);
      return;
    default:
      if (const auto for_fork = fork_advice(advice); for_fork && done) {
        out.effects.emplace_back(ForkAdviceEffect{range, *for_fork});
      }
  }
}

}  // namespace

AddressSpaceEffects address_space_effects(const Call& call, int64_t result,
                                          GuestAddress previous_break) {
  AddressSpaceEffects out;
  switch (call.number) {
    case nr::mmap:
      mmap_effects(call, result, out);
      break;
    case nr::munmap:
      if (!is_error(result)) {
        out.effects.emplace_back(UnmapEffect{pages_of(call.arguments[0], call.arguments[1])});
      }
      break;
    case nr::mprotect:
    case nr::pkey_mprotect:
      mprotect_effects(call, result, out);
      break;
    case nr::brk:
      brk_effects(result, previous_break, out);
      break;
    case nr::mremap:
      mremap_effects(call, result, out);
      break;
    case nr::madvise:
      madvise_effects(call, result, out);
      break;
    case nr::shmat:
    case nr::shmdt:
    case nr::remap_file_pages:
      // How large a segment is, and which file is mapped, the call does not say.
      out.reread_maps = !is_error(result);
      break;
    default:
      break;
  }
  return out;
}

}  // namespace rchk::syscalls
