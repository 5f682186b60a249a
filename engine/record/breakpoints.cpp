#include "engine/record/breakpoints.h"

#include <algorithm>

#include "engine/tracee/machine_probe.h"

namespace rchk::record {

namespace {

constexpr uint8_t kInt3 = 0xcc;
constexpr size_t kDebugRegisters = 4;
constexpr int kDebugStatus = 6;
constexpr int kDebugControl = 7;

std::optional<uint8_t> read_byte(tracee::Tracee& tracee, GuestAddress address) {
  uint8_t byte = 0;
  if (tracee.read_memory(address, {&byte, 1}) != 1) return std::nullopt;
  return byte;
}

bool write_byte(tracee::Tracee& tracee, GuestAddress address, uint8_t byte) {
  return tracee.write_memory(address, {&byte, 1}).has_value();
}

// DR7: bit 2i enables register i; four bits from 16+4i on say access and length.
uint64_t control_bits(size_t index, const HardwareWatchpoint& watchpoint) {
  const uint64_t access = watchpoint.access == WatchAccess::kWrite ? 1 : 3;
  uint64_t length = 0;
  switch (watchpoint.size_bytes) {
    case 1:
      length = 0;
      break;
    case 2:
      length = 1;
      break;
    case 4:
      length = 3;
      break;
    case 8:
      length = 2;
      break;
  }
  return 1ull << (2 * index) | (access | length << 2) << (16 + 4 * index);
}

}  // namespace

void Breakpoints::remove(GuestAddress address) {
  const auto site = sites_.find(address);
  if (site == sites_.end()) return;
  site->second.is_breakpoint = false;
  if (!site->second.is_hook) sites_.erase(site);
}

bool Breakpoints::contains(GuestAddress address) const {
  const auto site = sites_.find(address);
  return site != sites_.end() && site->second.is_breakpoint;
}

bool Breakpoints::is_hook(GuestAddress address) const {
  const auto site = sites_.find(address);
  return site != sites_.end() && site->second.is_hook;
}

void Breakpoints::set_hooks(const std::vector<GuestAddress>& addresses) {
  for (auto site = sites_.begin(); site != sites_.end();) {
    site->second.is_hook = false;
    site = site->second.is_breakpoint ? std::next(site) : sites_.erase(site);
  }
  for (const GuestAddress address : addresses) sites_[address].is_hook = true;
}

void Breakpoints::insert_all(tracee::Tracee& tracee) {
  for (auto& [address, site] : sites_) {
    if (site.saved || !(site.is_hook || reported_)) continue;
    const std::optional<uint8_t> byte = read_byte(tracee, address);
    if (byte && write_byte(tracee, address, kInt3)) site.saved = byte;
  }
  inserted_ = true;
}

void Breakpoints::remove_all(tracee::Tracee& tracee) {
  for (auto& [address, site] : sites_) {
    if (site.saved && read_byte(tracee, address) == kInt3) {
      write_byte(tracee, address, *site.saved);
    }
    site.saved.reset();
  }
  inserted_ = false;
}

void Breakpoints::hide_in(GuestAddress address, std::span<uint8_t> bytes, bool written,
                          tracee::Tracee& tracee) {
  if (sites_.empty()) return;
  const AddressRange range = range_of(address, bytes.size());
  for (auto site = sites_.lower_bound(range.begin); site != sites_.end() && site->first < range.end;
       ++site) {
    const GuestAddress where = site->first;
    std::optional<uint8_t>& saved = site->second.saved;
    if (!saved) continue;
    uint8_t& byte = bytes[where - address];
    if (byte == kInt3) {
      byte = *saved;
    } else if (written) {
      saved = byte;
      write_byte(tracee, where, kInt3);
    }
  }
}

Result<void> Watchpoints::add(const HardwareWatchpoint& watchpoint) {
  const uint8_t size = watchpoint.size_bytes;
  const bool possible = size == 1 || size == 2 || size == 4 || size == 8;
  if (!possible || watchpoint.address.value % size != 0) {
    return fail(ErrorKind::kUnsupported, fmt::format("a debug register cannot watch {} bytes at {}",
                                                     size, watchpoint.address));
  }
  if (watched_.size() == kDebugRegisters) {
    return fail(ErrorKind::kUnsupported, "all four debug registers are in use");
  }
  watched_.push_back({watchpoint, {}});
  return {};
}

void Watchpoints::remove(const HardwareWatchpoint& watchpoint) {
  const auto found = std::find_if(watched_.begin(), watched_.end(), [&](const Entry& entry) {
    return entry.watchpoint == watchpoint;
  });
  if (found != watched_.end()) watched_.erase(found);
}

bool Watchpoints::update(Entry& entry, tracee::Tracee& tracee) {
  std::vector<uint8_t> now(entry.watchpoint.size_bytes);
  now.resize(tracee.read_memory(entry.watchpoint.address, now));
  const bool changed = now != entry.value;
  entry.value = std::move(now);
  return changed;
}

void Watchpoints::take_values(tracee::Tracee& tracee) {
  for (Entry& entry : watched_) update(entry, tracee);
}

Result<void> Watchpoints::arm(tracee::Tracee& tracee, std::vector<HardwareWatchpoint>& armed) {
  if (watched_.empty() && armed.empty()) return {};
  std::vector<HardwareWatchpoint> wanted;
  for (const Entry& entry : watched_) wanted.push_back(entry.watchpoint);
  if (wanted == armed) return {};
  // While a register is enabled its address may not become invalid: switch all off first.
  RCHK_TRY(tracee.set_debug_register(kDebugControl, 0));
  uint64_t control = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    RCHK_TRY(tracee.set_debug_register(static_cast<int>(i), wanted[i].address.value));
    control |= control_bits(i, wanted[i]);
  }
  RCHK_TRY(tracee.set_debug_register(kDebugControl, control));
  armed = std::move(wanted);
  return {};
}

void Watchpoints::disarm(tracee::Tracee& tracee, std::vector<HardwareWatchpoint>& armed) {
  if (armed.empty()) return;
  // A tracee that is gone needs none.
  (void)tracee.set_debug_register(kDebugControl, 0);
  armed.clear();
}

Result<std::optional<HardwareWatchpoint>> Watchpoints::take_hit(
    tracee::Tracee& tracee, const std::vector<HardwareWatchpoint>& armed) {
  if (armed.empty()) return std::optional<HardwareWatchpoint>();
  RCHK_TRY_ASSIGN(const uint64_t status, tracee.debug_register(kDebugStatus));
  RCHK_TRY(tracee.set_debug_register(kDebugStatus, 0));
  std::optional<HardwareWatchpoint> hit;
  for (size_t i = 0; i < armed.size() && i < watched_.size(); ++i) {
    if ((status >> i & 1) == 0) continue;
    const bool changed = update(watched_[i], tracee);
    if (!hit && (changed || armed[i].access == WatchAccess::kReadWrite)) hit = armed[i];
  }
  return hit;
}

std::optional<HardwareWatchpoint> Watchpoints::take_change(tracee::Tracee& tracee) {
  return changed_in({{0}, {UINT64_MAX}}, tracee);
}

std::optional<HardwareWatchpoint> Watchpoints::changed_in(AddressRange range,
                                                          tracee::Tracee& tracee) {
  std::optional<HardwareWatchpoint> hit;
  for (Entry& entry : watched_) {
    const HardwareWatchpoint& watchpoint = entry.watchpoint;
    if (!range.overlaps(range_of(watchpoint.address, watchpoint.size_bytes))) continue;
    if (update(entry, tracee) && !hit) hit = watchpoint;
  }
  return hit;
}

bool hardware_watchpoints_work() {
  static const bool work = tracee::watchpoints_trap();
  return work;
}

}  // namespace rchk::record
