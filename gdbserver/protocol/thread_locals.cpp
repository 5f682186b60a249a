#include "gdbserver/protocol/thread_locals.h"

#include <algorithm>

namespace rchk::protocol {
namespace {

constexpr std::array<std::string_view, 5> kNames = {
    "_thread_db_link_map_l_tls_modid", "_thread_db_link_map_l_tls_offset",
    "_thread_db_pthread_dtvp",         "_thread_db_dtv_dtv",
    "_thread_db_dtv_t_pointer_val",
};
// glibc, sysdeps/x86_64/dl-tls.h and elf/dl-tls.c.
constexpr uint64_t kUnallocated = ~0ull;
constexpr uint64_t kNoStaticOffset = 0, kForcedDynamic = ~0ull;

template <typename Value>
Result<Value> read(target::Target& target, GuestAddress address) {
  Value value{};
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(&value), sizeof(value));
  if (target.read_memory(address, bytes) == bytes.size()) return value;
  return fail(ErrorKind::kGone, fmt::format("no memory at {}", address));
}

}  // namespace

std::string_view ThreadLocals::next_symbol() const {
  return asked_ < kNames.size() ? kNames[asked_] : std::string_view();
}

void ThreadLocals::found(std::string_view name, std::optional<GuestAddress> address) {
  const auto known = std::find(kNames.begin(), kNames.end(), name);
  if (known == kNames.end()) return;
  const auto index = static_cast<size_t>(known - kNames.begin());
  addresses_[index] = address;
  asked_ = index + 1;
}

Result<ThreadLocals::Field> ThreadLocals::field(target::Target& target, Symbol symbol) const {
  if (!addresses_[symbol]) {
    return fail(ErrorKind::kUnsupported, "the program has no C library that tells its layout");
  }
  return read<Field>(target, *addresses_[symbol]);
}

//   fs_base -> struct pthread            dtv: one slot for each module
//                dtvp -----------------> [ length ][ generation ][ module 1 ][ module 2 ] ...
//                                                                     |
//                                        the module's variables <-----+
Result<GuestAddress> ThreadLocals::address(target::Target& target, Tid thread, uint64_t offset,
                                           GuestAddress link_map) const {
  RCHK_TRY_ASSIGN(const Field module_field, field(target, kModule));
  RCHK_TRY_ASSIGN(const Field static_field, field(target, kStaticOffset));
  RCHK_TRY_ASSIGN(const Field vector_field, field(target, kVector));
  RCHK_TRY_ASSIGN(const Field slots_field, field(target, kSlots));
  RCHK_TRY_ASSIGN(const Field value_field, field(target, kValue));
  RCHK_TRY_ASSIGN(const Registers registers, target.read_registers(thread));
  const GuestAddress thread_pointer{registers.fs_base};
  RCHK_TRY_ASSIGN(const auto module, read<uint64_t>(target, link_map + module_field.offset_bytes));
  RCHK_TRY_ASSIGN(const auto static_offset,
                  read<uint64_t>(target, link_map + static_field.offset_bytes));
  RCHK_TRY_ASSIGN(const auto vector,
                  read<uint64_t>(target, thread_pointer + vector_field.offset_bytes));
  const uint64_t slot_bytes = slots_field.size_bits / 8;
  RCHK_TRY_ASSIGN(const auto length, read<uint64_t>(target, GuestAddress{vector - slot_bytes}));
  uint64_t base = kUnallocated;
  if (module != 0 && module <= length) {
    const GuestAddress slot{vector + slots_field.offset_bytes + module * slot_bytes};
    RCHK_TRY_ASSIGN(base, read<uint64_t>(target, slot + value_field.offset_bytes));
  }
  const bool has_static = static_offset != kNoStaticOffset && static_offset != kForcedDynamic &&
                          static_offset != kForcedDynamic - 1;
  if (base == kUnallocated && has_static) base = thread_pointer.value - static_offset;
  if (base == kUnallocated || module == 0) {
    return fail(ErrorKind::kGone, "the thread has no such variables yet");
  }
  return GuestAddress{base + offset};
}

}  // namespace rchk::protocol
