#include "tracker_interval.h"

#include <algorithm>
#include <string>

#include "snapshot/memory_reader.h"
#include "snapshot/tracker_probe.h"

namespace rchk::snapshot::test {
namespace {

constexpr std::array<uint8_t, kPageSize> kZeros = {};
constexpr size_t kMostPages = 1 << 18;  // 1 GiB; no guest of these tests touches more

bool is_of_kernel(const ProcMapsEntry& mapping) { return mapping.name.starts_with("[v"); }

// Whether the process alone has the page: others belong to a file.
bool is_own(const ProcMapsEntry& mapping, PageEntry entry) {
  return entry.in_table() && !mapping.shared && (mapping.inode == 0 || !entry.file_or_shared());
}

// Calls `visit` for each page of a mapping that may be in the page table.
void visit_entries(const Pagemap& pagemap, AddressRange range,
                   const std::function<void(GuestAddress, PageEntry)>& visit) {
  const auto populated = pagemap.populated(range);
  ASSERT_TRUE(populated) << populated.error().message();
  std::vector<PageEntry> entries;
  for (const PopulatedRange& part : *populated) {
    ASSERT_TRUE(pagemap.read(part.range, entries));
    for (size_t i = 0; i < entries.size(); ++i) visit(part.range.begin + i * kPageSize, entries[i]);
  }
}

std::array<uint8_t, kPageSize> read_page(const MemoryReader& memory, GuestAddress at) {
  std::array<uint8_t, kPageSize> bytes;
  EXPECT_TRUE(memory.read_or_zero(at, bytes));
  return bytes;
}

}  // namespace

Indexes in_area(const RangeSet& pages) {
  Indexes indexes;
  for (const AddressRange& part : intersection(pages, {page_range(0, 1 << 20)})) {
    for (GuestAddress at = part.begin; at < part.end; at = at + kPageSize) {
      indexes.push_back((at - page(0)) / kPageSize);
    }
  }
  return indexes;
}

std::string why_not(TrackerKind kind) {
  static const std::vector<TrackerProbe> probes = probe_trackers();
  const auto probe = std::find_if(probes.begin(), probes.end(),
                                  [&](const TrackerProbe& each) { return each.kind == kind; });
  return probe->result.works ? "" : probe->result.detail;
}

std::unique_ptr<DirtyTracker> tracker_for(TrackerKind kind, Guest& guest) {
  if (kind != TrackerKind::kUserfaultfd) return make_tracker(kind, guest.pid());
  auto tracker = make_userfaultfd_tracker(guest.pid(), guest.take_userfaultfd());
  EXPECT_TRUE(tracker) << tracker.error().message();
  return std::move(*tracker);
}

Contents Contents::of(int pid) {
  Contents contents;
  const auto maps = read_proc_maps(pid);
  const auto pagemap = Pagemap::open(pid);
  const auto memory = MemoryReader::open(pid);
  EXPECT_TRUE(maps && pagemap && memory);
  contents.maps = *maps;
  for (const ProcMapsEntry& mapping : *maps) {
    if (is_of_kernel(mapping)) continue;
    visit_entries(*pagemap, mapping.range, [&](GuestAddress at, PageEntry entry) {
      if (contents.pages.size() == kMostPages) return;
      if (is_own(mapping, entry)) contents.pages[at] = read_page(*memory, at);
    });
  }
  EXPECT_LT(contents.pages.size(), kMostPages) << "page tables were filled";
  return contents;
}

Interval::Interval(TrackerKind kind, const std::function<void(GuestSide&)>& body)
    : kind_(kind),
      guest_([&](GuestSide& side) {
        side.set_forks(needs_reference(kind));
        body(side);
      }),
      tracker_(tracker_for(kind, guest_)) {
  begin(static_cast<int>(guest_.hear()));
}

void Interval::end_reference() {
  if (reference_ != 0) kill(reference_, SIGKILL);
  reference_ = 0;
}

void Interval::begin(int reference) {
  if (reference != 0) stop(reference);
  const auto began = tracker_->begin(reference != 0 ? reference : -1);
  end_reference();
  reference_ = reference;
  EXPECT_TRUE(began) << began.error().message();
  // A fork writes to its own memory before it sleeps, and that is what trackers compare with.
  then_ = Contents::of(reference != 0 ? reference : guest_.pid());
  told_.clear();
}

DirtyPages Interval::collect() {
  const auto dirty = tracker_->collect();
  if (!dirty) {
    ADD_FAILURE() << dirty.error().message();
    return {};
  }
  expect_superset(*dirty);
  return *dirty;
}

void Interval::contents_changed(AddressRange range) {
  tracker_->contents_changed(range);
  told_.push_back(range);
}

void Interval::mapped(AddressRange range) {
  tracker_->private_memory_mapped(range);
  contents_changed(range);
}

// Only what is in the page table is looked at: reading other pages would put them there. Then what
// was in it and is no more.
void Interval::expect_superset(const DirtyPages& dirty) {
  const auto maps = read_proc_maps(guest_.pid());
  const auto pagemap = Pagemap::open(guest_.pid());
  ASSERT_TRUE(maps && pagemap);
  RangeSet in_table;
  RangeSet mapped;
  for (const ProcMapsEntry& mapping : *maps) {
    if (is_of_kernel(mapping)) continue;
    mapped.push_back(mapping.range);
    visit_entries(*pagemap, mapping.range, [&](GuestAddress at, PageEntry entry) {
      if (!entry.in_table()) return;
      append_in_order(in_table, range_of(at, kPageSize));
      check_page(mapping, at, entry, dirty);
    });
  }
  told_ = normalized(std::move(told_));
  const RangeSet& known = marks_only() ? told_ : dirty.pages;
  for (const auto& [at, bytes] : then_.pages) {
    if (contains(in_table, at) || !contains(mapped, at) || bytes == kZeros) continue;
    EXPECT_TRUE(contains(known, at) || contains(dirty.new_mappings, at) ||
                contains(dirty.pages, at))
        << "nobody knows that " << fmt::format("{}", at) << " was discarded";
  }
}

void Interval::check_page(const ProcMapsEntry& mapping, GuestAddress at, PageEntry entry,
                          const DirtyPages& dirty) {
  if (contains(dirty.pages, at)) return;
  const bool is_new = contains(dirty.new_mappings, at);
  const auto old = then_.pages.find(at);
  const bool was_own = old != then_.pages.end() && !is_new;
  if (mapping.inode != 0 && !was_own) {
    // What new mappings hold is not the tracker's matter; a copy may be an equal one.
    const bool excused = is_new || kind_ == TrackerKind::kContent;
    EXPECT_TRUE(!is_own(mapping, entry) || excused) << "missed " << fmt::format("{}", at);
    return;
  }
  const auto memory = MemoryReader::open(guest_.pid());
  ASSERT_TRUE(memory);
  EXPECT_TRUE(read_page(*memory, at) == (was_own ? old->second : kZeros))
      << "missed " << fmt::format("{}", at);
}

void DirtyTrackerTest::SetUp() {
  const std::string reason = why_not(kind());
  if (!reason.empty()) GTEST_SKIP() << reason;
}

}  // namespace rchk::snapshot::test
