// Page snapshots: beginning a replay at one, and checking a guest that comes by against it.

#include <algorithm>

#include "engine/replay/segment.h"
#include "snapshot/checksum.h"
#include "snapshot/range_set.h"

namespace rchk::replay {

namespace {

using snapshot::PageChange;
using snapshot::PageVersion;

const trace::ExecEvent& image_of(const trace::Snapshot& taken) {
  return std::get<trace::ExecEvent>(taken.image.body);
}

}  // namespace

std::optional<trace::SnapshotNumber> Replayer::snapshot_behind(EventNumber event,
                                                               uint32_t space) const {
  trace::SnapshotSource* const snapshots = source_.snapshots();
  if (snapshots == nullptr) return std::nullopt;
  const EventNumber global = source_.global_number(event);
  const auto& marks = snapshots->marks();
  auto mark = std::lower_bound(
      marks.begin(), marks.end(), global,
      [](const trace::SnapshotMark& item, EventNumber value) { return item.event < value; });
  for (; mark != marks.end() && mark->event == global; ++mark) {
    if (mark->space == space)
      return trace::SnapshotNumber{static_cast<uint32_t>(mark - marks.begin())};
  }
  return std::nullopt;
}

Result<void> Replayer::put_pages(Guest& guest, const std::vector<PageChange>& pages) {
  trace::SnapshotSource& snapshots = *source_.snapshots();
  return snapshot::read_pages(
      pages, [&snapshots](uint32_t chunk) { return snapshots.page_chunk(chunk); },
      [&](GuestAddress page, std::span<const uint8_t, kPageSize> content) -> Result<void> {
        if (guest.puppet->space().find(page) == nullptr) {
          return fail(ErrorKind::kBadTrace,
                      fmt::format("a snapshot has a page at {}, where nothing is mapped", page));
        }
        return guest.puppet->write_memory(page, content);
      });
}

Result<void> Replayer::resume(Guest& guest, const trace::Resumed& resumed) {
  if (source_.snapshots() == nullptr) {
    return fail(ErrorKind::kBadTrace, "a program goes on of which no pages are there");
  }
  RCHK_TRY(put_pages(guest, resumed.pages));
  guest.is_amid = resumed.in_call;
  for (const trace::WaitingTask& task : resumed.others) {
    guest.others.insert_or_assign(task.tid,
                                  WaitingTask{task.registers, task.extended_state, task.in_call});
  }
  return {};
}

Result<Guest> Replayer::start_at(trace::SnapshotNumber number) {
  RCHK_TRY_ASSIGN(Guest guest, made_of(number));
  RCHK_TRY(apply_stores_of_others(guest));
  return guest;
}

Result<Guest> Replayer::made_of(trace::SnapshotNumber number) {
  trace::SnapshotSource& snapshots = *source_.snapshots();
  RCHK_TRY_ASSIGN(const auto taken, snapshots.snapshot(number));
  const std::optional<EventNumber> event = source_.local_number(taken->event);
  if (!event) {
    return fail(ErrorKind::kMisuse, fmt::format("snapshot {} is of another process", number.value));
  }
  const trace::ExecEvent& image = image_of(*taken);
  Guest guest;
  guest.tid = taken->image.tid;
  guest.pid = image.pid;
  guest.space = snapshots.marks()[number.value].space;
  guest.position.event = *event;
  guest.early = taken->unsettled;
  RCHK_TRY(apply(guest, image, Origin::kSnapshot));
  RCHK_TRY_ASSIGN(const std::vector<PageChange> pages, snapshots.pages(number));
  RCHK_TRY(put_pages(guest, pages));
  for (const trace::WaitingTask& task : taken->others) {
    guest.others.insert_or_assign(task.tid,
                                  WaitingTask{task.registers, task.extended_state, task.in_call});
  }
  note_if_amid(guest);
  RCHK_TRY(apply_all_stores_of_others(guest));
  return guest;
}

void Replayer::note_if_amid(Guest& guest) const {
  const bool behind_event = guest.position == Position{guest.position.event, 0, 0, 0};
  const auto distance = distance_to(guest.position.event);
  if (!behind_event || !guest.others.empty() || !distance) return;
  guest.is_amid |= distance->rep_iterations > 0;
}

Result<std::shared_ptr<const StateTarget>> Replayer::target_of(const trace::SwitchEvent& event,
                                                               trace::SnapshotNumber number) {
  if (restored_target_ && restored_target_->first == number) return restored_target_->second;
  restored_target_.reset();
  trace::SnapshotSource& snapshots = *source_.snapshots();
  RCHK_TRY_ASSIGN(const auto taken, snapshots.snapshot(number));
  RCHK_TRY_ASSIGN(const auto other, create(source_, cpu_));
  RCHK_TRY_ASSIGN(Guest made, other->made_of(number));
  RCHK_TRY(made.puppet->grow_stacks());
  StateTarget target;
  target.registers = event.registers;
  target.extended_state = event.extended_state;
  for (const AddressRange& range : taken->touched) {
    for (GuestAddress page = range.begin; page < range.end; page = page + kPageSize) {
      target.pages.push_back(page);
    }
  }
  const auto restored = std::make_shared<const Guest>(std::move(made));
  target.read = [restored](GuestAddress address, std::span<uint8_t> bytes) {
    return restored->puppet->read_memory(address, bytes);
  };
  restored_target_.emplace(number, std::make_shared<const StateTarget>(std::move(target)));
  return restored_target_->second;
}

bool Replayer::is_without_snapshot(const trace::Event& event, EventNumber number) const {
  const auto* change = std::get_if<trace::SwitchEvent>(&event.body);
  return change != nullptr && change->place == trace::Place::kBySnapshot &&
         !snapshot_behind(number, event.space);
}

Result<void> Replayer::check_snapshot(Guest& guest, trace::SnapshotNumber number) {
  trace::SnapshotSource& snapshots = *source_.snapshots();
  RCHK_TRY_ASSIGN(const auto taken, snapshots.snapshot(number));
  RCHK_TRY(check_task(guest, taken->image.tid, image_of(*taken).registers));
  for (const trace::WaitingTask& task : taken->others) {
    RCHK_TRY(check_task(guest, task.tid, task.registers));
  }
  RCHK_TRY_ASSIGN(const std::vector<PageChange> changes, snapshots.changes(number));
  // What has settled by now has had its event.
  std::erase_if(guest.early, [&](const AddressRange& range) {
    return std::none_of(taken->unsettled.begin(), taken->unsettled.end(),
                        [&](const AddressRange& other) { return other.overlaps(range); });
  });
  const std::string place = fmt::format("snapshot {}", number.value);
  RCHK_TRY(check_pages(guest, changes, taken->unsettled, place));
  ++snapshots_verified_;
  if (!restores_) return {};
  RCHK_TRY_ASSIGN(const auto other, create(source_, cpu_));
  RCHK_TRY_ASSIGN(Guest restored, other->made_of(number));
  return compare_restored(guest, std::move(restored), taken->unsettled, place);
}

Result<void> Replayer::check_pages(Guest& guest, const std::vector<PageChange>& pages,
                                   const std::vector<AddressRange>& unsettled,
                                   std::string_view place) {
  RCHK_TRY(guest.puppet->grow_stacks());
  std::vector<AddressRange> left_out;
  for (const AddressRange& range : unsettled) left_out.push_back(range.pages());
  left_out = snapshot::normalized(std::move(left_out));
  Bytes content(kPageSize);
  for (const PageChange& change : pages) {
    if (change.version.kind == PageVersion::Kind::kReset) continue;
    if (snapshot::contains(left_out, change.page)) continue;
    const bool readable = guest.puppet->read_memory(change.page, content) == kPageSize;
    if (readable && snapshot::holds(content, change.version)) continue;
    return divergence(guest,
                      fmt::format("the page at {} is not as {} has it\n", change.page, place));
  }
  pages_verified_ += pages.size();
  return {};
}

Result<void> Replayer::check_beginning(Guest& guest, const trace::Event& process,
                                       const std::vector<PageChange>& changed,
                                       const std::optional<std::vector<AddressRange>>& unsettled) {
  const auto& image = std::get<trace::ExecEvent>(process.body);
  RCHK_TRY(check_task(guest, process.tid, image.registers));
  for (const trace::WaitingTask& task : image.resumed->others) {
    RCHK_TRY(check_task(guest, task.tid, task.registers));
  }
  constexpr std::string_view kPlace = "the beginning behind it";
  if (!unsettled) return {};
  RCHK_TRY(check_pages(guest, changed, *unsettled, kPlace));
  if (!restores_) return {};
  RCHK_TRY_ASSIGN(const auto other, create(source_, cpu_));
  RCHK_TRY_ASSIGN(Guest restored, other->start_behind(guest.position.event, process));
  return compare_restored(guest, std::move(restored), *unsettled, kPlace);
}

Result<void> Replayer::check_task(const Guest& guest, Tid tid, Registers expected) {
  if (!guest.has_task(tid)) {
    return divergence(guest, fmt::format("task {} is not there\n", tid.value));
  }
  const Registers& found = tid == guest.tid ? guest.registers : guest.others.at(tid).registers;
  // At a system call, rcx and r11 are the hardware's.
  expected.rcx = found.rcx;
  expected.r11 = found.r11;
  if (same_guest_state(expected, found)) return {};
  return divergence(guest,
                    fmt::format("registers of task {} differ from the snapshot's:\n", tid.value) +
                        describe_difference(expected, found));
}

// All memory of `guest` with that of one that was made anew, but for what calls may have been
// storing: that may be there early.
Result<void> Replayer::compare_restored(Guest& guest, Guest restored,
                                        const std::vector<AddressRange>& unsettled,
                                        std::string_view place) {
  RCHK_TRY(restored.puppet->grow_stacks());
  for (const AddressRange& range : unsettled) {
    Bytes stored(range.size());
    stored.resize(guest.puppet->read_memory(range.begin, stored));
    RCHK_TRY(restored.puppet->write_memory(range.begin, stored));
  }
  RCHK_TRY_ASSIGN(const auto expected,
                  snapshot::checksum_memory(guest.puppet->pid(), guest.puppet->space()));
  RCHK_TRY_ASSIGN(const auto found,
                  snapshot::checksum_memory(restored.puppet->pid(), restored.puppet->space()));
  ++snapshots_restored_;
  const std::optional<AddressRange> difference = snapshot::first_difference(expected, found);
  if (!difference) return {};
  GuestAddress page = difference->begin;
  Bytes here(kPageSize), there(kPageSize);
  for (; page < difference->end; page = page + kPageSize) {
    here.resize(guest.puppet->read_memory(page, here));
    there.resize(restored.puppet->read_memory(page, there));
    if (here != there) break;
    here.resize(kPageSize), there.resize(kPageSize);
  }
  return divergence(guest,
                    fmt::format("the page at {} differs from what {} restores\n", page, place));
}

}  // namespace rchk::replay
