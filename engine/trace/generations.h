#pragma once

#include <atomic>
#include <deque>

#include "engine/trace/coarse_clock.h"
#include "engine/trace/output.h"
#include "engine/trace/writer.h"

namespace rchk::trace {

// The generations of a recording of which only the last part is kept
// (docs/notes/flight-recorder.md): when another one is to begin, and which ones are dropped.
//
// The writer's thread calls it, but for wants_another() and expect_another().
class Generations {
 public:
  // `output` outlives it.
  Generations(Output& output, WriterOptions options)
      : output_(output), options_(std::move(options)) {}

  // The first one, at the file's beginning.
  Result<void> begin();
  bool keeps_everything() const { return options_.keep.is_everything(); }

  // Another one begins while this lives: what is written then is its section.
  class Section {
   public:
    Section(Generations& generations, uint64_t first_event);
    ~Section();
    Section(const Section&) = delete;
    Section& operator=(const Section&) = delete;

   private:
    Generations& generations_;
    CoarseClock::time_point begun_;
  };

  // Whether history is such that another one is to begin.
  bool wants_another() const { return wanted_.load(std::memory_order_relaxed); }
  // One is on its way.
  void expect_another();
  // Sees whether another one is wanted, and drops those that are not to be kept any more.
  Result<void> judge();
  // The number of the first event that is kept.
  uint64_t first_event() const { return all_.front().first_event; }

 private:
  struct Generation {
    uint64_t offset = 0;  // in the file
    uint64_t first_event = 0;
    CoarseClock::time_point begun;
    uint64_t section_bytes = 0;
    CoarseClock::duration section_time{};
  };
  bool is_due(const Generation& last, CoarseClock::time_point now) const;
  bool drops_first(CoarseClock::time_point now) const;
  void say_if_late(CoarseClock::time_point now);
  void say_once(bool& said, std::string_view text);

  Output& output_;
  const WriterOptions options_;
  std::deque<Generation> all_;  // that are kept
  std::atomic<bool> wanted_ = false;
  std::atomic<bool> expected_ = false;
  CoarseClock::time_point wanted_since_;
  uint64_t wanted_at_bytes_ = 0;
  bool said_late_ = false, said_small_ = false;
};

}  // namespace rchk::trace
