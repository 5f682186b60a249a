// What other processes store to memory that a guest shares with them, where it is replayed alone.

#include <algorithm>

#include "engine/replay/replayer.h"

namespace rchk::replay {

namespace {

bool has_shared_memory(const Puppet& puppet) {
  const auto& mappings = puppet.space().mappings();
  return std::any_of(mappings.begin(), mappings.end(),
                     [](const auto& item) { return item.second.shared; });
}

}  // namespace

Result<void> Replayer::apply_stores_of_others(Guest& guest) {
  guest.stored_over.clear();
  guest.has_stores_of_others = true;
  trace::StoresOfOthers* const others = source_.stores_of_others();
  if (others == nullptr || (!others->is_ready() && !has_shared_memory(*guest.puppet))) return {};
  RCHK_TRY_ASSIGN(const auto stores,
                  others->behind(source_.global_number(guest.position.event), guest.space));
  if (stores == nullptr) return {};
  for (const trace::MemoryWrite& store : *stores) {
    trace::MemoryWrite old{store.address, Bytes(store.bytes.size())};
    old.bytes.resize(guest.puppet->read_memory(old.address, old.bytes));
    guest.stored_over.push_back(std::move(old));
    RCHK_TRY(write(guest, store));
  }
  return {};
}

Result<void> Replayer::take_back_stores_of_others(Guest& guest) {
  for (const trace::MemoryWrite& old : guest.stored_over) RCHK_TRY(write(guest, old));
  guest.stored_over.clear();
  return {};
}

Result<void> Replayer::apply_all_stores_of_others(Guest& guest) {
  trace::StoresOfOthers* const others = source_.stores_of_others();
  if (others == nullptr || !has_shared_memory(*guest.puppet)) return {};
  RCHK_TRY_ASSIGN(const auto all,
                  others->before(source_.global_number(guest.position.event), guest.space));
  for (const auto& stores : all) {
    for (const trace::MemoryWrite& store : *stores) {
      const snapshot::Mapping* const mapping = guest.puppet->space().find(store.address);
      const bool only_read = mapping != nullptr && mapping->shared && !mapping->writable();
      if (only_read) RCHK_TRY(write(guest, store));
    }
  }
  return {};
}

}  // namespace rchk::replay
