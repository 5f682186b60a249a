#include "engine/trace/generations.h"

#include <algorithm>

#include <malloc.h>

namespace rchk::trace {
namespace {

// In so many generations what is to be kept is divided, if one's section is small against it.
constexpr uint64_t kParts = 4;
// Writing sections takes no more than this part of the writer's time.
constexpr int kLeastTimes = 20;
// Without a place for a beginning for so long, while so much is written, the user is told.
constexpr std::chrono::seconds kLate(10);
constexpr uint64_t kLateBytes = 1 << 20;

}  // namespace

Result<void> Generations::begin() {
  all_.push_back({output_.offset(), 0, CoarseClock::now(), 0, {}});
  return keeps_everything() ? Result<void>() : output_.check_that_it_can_drop();
}

Generations::Section::Section(Generations& generations, uint64_t first_event)
    : generations_(generations), begun_(CoarseClock::now()) {
  generations_.all_.push_back({generations_.output_.offset(), first_event, begun_, 0, {}});
}

Generations::Section::~Section() {
  Generation& last = generations_.all_.back();
  last.section_bytes = generations_.output_.offset() - last.offset;
  last.section_time = CoarseClock::now() - begun_;
  generations_.expected_ = false;
}

void Generations::expect_another() {
  expected_ = true;
  wanted_ = false;
}

bool Generations::is_due(const Generation& last, CoarseClock::time_point now) const {
  const Keep& keep = options_.keep;
  if (keep.duration &&
      now - last.begun >=
          std::max<CoarseClock::duration>(*keep.duration / 2, kLeastTimes * last.section_time)) {
    return true;
  }
  return keep.size_bytes && output_.offset() - last.offset >=
                                std::max(*keep.size_bytes / kParts, 2 * last.section_bytes);
}

bool Generations::drops_first(CoarseClock::time_point now) const {
  if (all_.size() < 2) return false;
  const Keep& keep = options_.keep;
  if (keep.duration) return now - all_[1].begun >= *keep.duration;
  if (output_.offset() - output_.kept_from() <= *keep.size_bytes) return false;
  // Of the last one some history is to be there as well.
  const Generation& last = all_.back();
  const uint64_t history = output_.offset() - last.offset - last.section_bytes;
  return all_.size() > 2 || history >= std::max(*keep.size_bytes / kParts, last.section_bytes);
}

Result<void> Generations::judge() {
  const CoarseClock::time_point now = CoarseClock::now();
  const size_t before = all_.size();
  while (drops_first(now)) {
    RCHK_TRY(output_.drop_before(all_[1].offset));
    all_.pop_front();
  }
  // What snapshots took for a moment lies scattered in the heap: of 48 MB 9 were in use.
  if (all_.size() != before) malloc_trim(0);
  const Generation& last = all_.back();
  const Keep& keep = options_.keep;
  if (keep.size_bytes && last.section_bytes > *keep.size_bytes / kParts) {
    say_once(
        said_small_,
        fmt::format("--keep: what the program has in memory takes {} bytes, more than a quarter "
                    "of the {} that are to be kept: up to five times as much is.",
                    last.section_bytes, *keep.size_bytes));
  }
  if (expected_) return {};
  if (wanted_) {
    say_if_late(now);
  } else if (is_due(last, now)) {
    wanted_since_ = now;
    wanted_at_bytes_ = output_.offset();
    wanted_ = true;
  }
  return {};
}

void Generations::say_if_late(CoarseClock::time_point now) {
  const uint64_t written = output_.offset() - wanted_at_bytes_;
  if (now - wanted_since_ < kLate || written < kLateBytes) return;
  say_once(
      said_late_,
      fmt::format("--keep: for {} s there was no moment at which every task of the program stood "
                  "behind an event or waited in a call. Until there is one, nothing can be "
                  "dropped, and the recording grows.",
                  kLate.count()));
}

void Generations::say_once(bool& said, std::string_view text) {
  if (std::exchange(said, true) || !options_.message) return;
  options_.message(text);
}

}  // namespace rchk::trace
