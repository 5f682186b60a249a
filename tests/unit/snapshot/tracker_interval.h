#pragma once

#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "rights.h"
#include "snapshot/address_space.h"
#include "snapshot/dirty_tracker.h"
#include "snapshot/pagemap.h"
#include "test_guest.h"

namespace rchk::snapshot::test {

using Indexes = std::vector<uint64_t>;

// The pages of the test area in the set, as indexes.
Indexes in_area(const RangeSet& pages);

// Why a tracker does not work on this machine; empty when it does.
std::string why_not(TrackerKind kind);

// A tracker of the kind for the guest.
std::unique_ptr<DirtyTracker> tracker_for(TrackerKind kind, Guest& guest);

// What a stopped process has in memory.
struct Contents {
  static Contents of(int pid);

  std::vector<ProcMapsEntry> maps;
  std::map<GuestAddress, std::array<uint8_t, kPageSize>> pages;  // of no file, in the page table
};

// A guest, a tracker that begins where the guest calls fork_reference(), and a copy of what the
// guest's memory held there, to check the tracker against. The guest forks only for trackers that
// need a reference.
class Interval {
 public:
  Interval(TrackerKind kind, const std::function<void(GuestSide&)>& body);
  ~Interval() { end_reference(); }

  Guest& guest() { return guest_; }
  int reference() const { return reference_; }
  DirtyTracker& tracker() { return *tracker_; }
  uint64_t go_and_hear() { return guest_.go_and_hear(); }

  // Begins anew; the guest is in fork_reference().
  void begin(int reference);
  // What the tracker finds, checked against the contents of the process then and now.
  DirtyPages collect();
  // Tells the tracker, as a recorder would after the call.
  void contents_changed(AddressRange range);
  void mapped(AddressRange range);

  // Whether only the caller knows what was discarded (dirty_tracker.h).
  bool marks_only() const { return !needs_reference(kind_); }

 private:
  // One that was stopped before it could ask for it does not end with the guest.
  void end_reference();
  void expect_superset(const DirtyPages& dirty);
  void check_page(const ProcMapsEntry& mapping, GuestAddress at, PageEntry entry,
                  const DirtyPages& dirty);

  TrackerKind kind_;
  Guest guest_;
  int reference_ = 0;
  std::unique_ptr<DirtyTracker> tracker_;
  Contents then_;
  RangeSet told_;
};

using Parameters = std::tuple<TrackerKind, Rights>;

// Runs for every tracker, with different rights. Skipped where the tracker does not work at all.
class DirtyTrackerTest : public testing::TestWithParam<Parameters> {
 protected:
  void SetUp() override;
  TrackerKind kind() const { return std::get<0>(GetParam()); }
  Rights rights() const { return std::get<1>(GetParam()); }
  bool marks_only() const { return !needs_reference(kind()); }
  void run(const std::function<void()>& body) { run_with(rights(), body); }
};

inline void fill(uint64_t first, uint64_t pages, int value) {
  std::memset(at_page(first), value, pages * kPageSize);
}

}  // namespace rchk::snapshot::test
