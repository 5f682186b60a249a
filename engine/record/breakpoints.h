#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "engine/tracee/tracee.h"

namespace rchk::record {

// int3 instructions in a live tracee. They are in its memory only while insert_all() is in force,
// which is only while it runs: a stopped guest's memory is always the guest's own.
//
// A site may be the debugger's, the recorder's own (a hook: an instruction that the recorder
// carries out itself), or both. Not to be called while they are in memory: add(), remove(),
// set_hooks(), report().
class Breakpoints {
 public:
  void add(GuestAddress address) { sites_[address].is_breakpoint = true; }
  void remove(GuestAddress address);
  bool contains(GuestAddress address) const;
  void set_hooks(const std::vector<GuestAddress>& addresses);
  bool is_hook(GuestAddress address) const;
  // No site of any kind.
  bool empty() const { return sites_.empty(); }
  bool inserted() const { return inserted_; }

  // Whether insert_all() means the debugger's too, or hooks alone.
  void report(bool on) { reported_ = on; }
  bool reports(GuestAddress address) const { return reported_ && contains(address); }
  // Puts all of them in. One whose memory is not mapped is passed over.
  void insert_all(tracee::Tracee& tracee);
  // Takes all of them out. What the guest itself has overwritten stays as it is.
  void remove_all(tracee::Tracee& tracee);

  // Corrects bytes that were read from `address` on while breakpoints were in, to what the guest
  // would read. `written` says that the kernel stored there: a byte that is no int3 any more is the
  // guest's new one, and the breakpoint is put in again.
  void hide_in(GuestAddress address, std::span<uint8_t> bytes, bool written,
               tracee::Tracee& tracee);

 private:
  struct Site {
    bool is_breakpoint = false;
    bool is_hook = false;
    std::optional<uint8_t> saved{};  // the guest's byte while an int3 stands in its place
  };
  std::map<GuestAddress, Site> sites_;
  bool inserted_ = false;
  bool reported_ = true;
};

// The lengths that a debug register can watch and the instructions that it can see (SDM vol. 3,
// 17.2.4).
enum class WatchAccess : uint8_t { kWrite, kReadWrite };

struct HardwareWatchpoint {
  GuestAddress address;
  uint8_t size_bytes = 0;
  WatchAccess access = WatchAccess::kWrite;
  bool operator==(const HardwareWatchpoint&) const = default;
};

// Whether debug registers do what they are for; under some hypervisors they do nothing. Found out
// once in a process, which takes a child.
bool hardware_watchpoints_work();

// The watchpoints of a live process, in the four debug registers of each of its threads.
class Watchpoints {
 public:
  // kUnsupported when the debug registers cannot watch that, or when none is free.
  Result<void> add(const HardwareWatchpoint& watchpoint);
  void remove(const HardwareWatchpoint& watchpoint);
  bool empty() const { return watched_.empty(); }

  // Remembers what the watched memory holds.
  void take_values(tracee::Tracee& tracee);
  // Makes the debug registers of a tracee, which hold `armed`, what they have to be.
  Result<void> arm(tracee::Tracee& tracee, std::vector<HardwareWatchpoint>& armed);
  // Takes all of them out of a tracee.
  static void disarm(tracee::Tracee& tracee, std::vector<HardwareWatchpoint>& armed);

  // After a stop by SIGTRAP: the watchpoint that was hit, if one was. A store that left the same
  // value is no hit.
  Result<std::optional<HardwareWatchpoint>> take_hit(tracee::Tracee& tracee,
                                                     const std::vector<HardwareWatchpoint>& armed);
  // After a single step where debug registers do nothing: a watchpoint whose memory has changed.
  std::optional<HardwareWatchpoint> take_change(tracee::Tracee& tracee);
  // After the kernel stored into `range`: a watchpoint whose memory it changed.
  std::optional<HardwareWatchpoint> changed_in(AddressRange range, tracee::Tracee& tracee);

 private:
  struct Entry {
    HardwareWatchpoint watchpoint;
    std::vector<uint8_t> value;
  };
  // Takes the current value in; true if it differs from what it was.
  static bool update(Entry& entry, tracee::Tracee& tracee);

  std::vector<Entry> watched_;
};

}  // namespace rchk::record
