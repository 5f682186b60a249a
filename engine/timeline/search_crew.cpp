#include "engine/timeline/search_crew.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <type_traits>

#include "base/check.h"

namespace rchk::timeline {

namespace {

// Of a slot; from kTaken on: by whom, kTaken + owner.
constexpr uint32_t kOpen = 0, kDone = 1, kFailed = 2, kTaken = 3;
constexpr uint32_t kMaker = 0, kFirstWorker = 1;
constexpr uint32_t kNoJob = UINT32_MAX;

}  // namespace

// The answer to a job: written by who has taken it, before the state says kDone.
struct SearchCrew::Slot {
  std::atomic<uint32_t> state{kOpen};
  uint32_t owner = kMaker;
  SearchResult result;
};

// The memory that all share: this, and the slots behind it.
struct SearchCrew::Board {
  explicit Board(size_t jobs) : count(jobs) {}
  std::atomic<bool> over{false};
  std::atomic<uint32_t> first_hit{kNoJob};  // the latest stretch that is known to have one
  const size_t count;

  static size_t size_bytes(size_t jobs) { return sizeof(Board) + jobs * sizeof(Slot); }
  Slot& slot(size_t job) {
    RCHK_CHECK(job < count, "job {} of {}", job, count);
    return *std::launder(reinterpret_cast<Slot*>(this + 1) + job);
  }
  // Whether a job is of no use any more: what comes later has a hit.
  bool is_idle(size_t job) const {
    return over.load(std::memory_order_relaxed) || first_hit.load(std::memory_order_relaxed) < job;
  }
  void put(size_t job, uint32_t owner, const SearchResult& result) {
    slot(job).result = result;
    slot(job).owner = owner;
    slot(job).state.store(kDone, std::memory_order_release);
    if (!result.hit) return;
    const auto number = static_cast<uint32_t>(job);
    uint32_t first = first_hit.load();
    while (number < first && !first_hit.compare_exchange_weak(first, number)) continue;
  }
};

SearchCrew::SearchCrew(std::vector<SearchJob> jobs, replay::SharedMemory memory)
    : jobs_(std::move(jobs)),
      memory_(std::move(memory)),
      board_(new (memory_.data()) Board(jobs_.size())) {
  for (size_t i = 0; i < jobs_.size(); ++i) new (reinterpret_cast<Slot*>(board_ + 1) + i) Slot();
}

std::unique_ptr<SearchCrew> SearchCrew::start(std::vector<SearchJob> jobs,
                                              std::span<const int> cpus,
                                              const MakeSearch& make_search) {
  static_assert(std::atomic<uint32_t>::is_always_lock_free);
  static_assert(std::is_trivially_copyable_v<SearchResult>);
  static_assert(alignof(Slot) <= alignof(Board));
  if (jobs.empty() || cpus.empty()) return nullptr;
  auto memory = replay::SharedMemory::create(Board::size_bytes(jobs.size()));
  if (!memory) return nullptr;
  std::unique_ptr<SearchCrew> crew(new SearchCrew(std::move(jobs), std::move(*memory)));
  crew->workers_.start(cpus, [&](uint32_t worker, int cpu) {
    const auto search = make_search(cpu);
    if (search) crew->search_all(kFirstWorker + worker, *search);
  });
  if (crew->workers_.count() == 0) return nullptr;
  return crew;
}

SearchCrew::~SearchCrew() {
  end_soon();
  workers_.end();
}

bool SearchCrew::has_workers() { return look_after(); }

bool SearchCrew::is_by_worker(size_t job) const { return board_->slot(job).owner != kMaker; }

void SearchCrew::end_soon() { board_->over = true; }

std::optional<size_t> SearchCrew::job_before(const Position& position) const {
  for (size_t i = 0; i < jobs_.size(); ++i) {
    if (jobs_[i].begin < position && position <= jobs_[i].end) return i;
  }
  return std::nullopt;
}

bool SearchCrew::look_after() {
  return workers_.any_left([this](uint32_t worker) {
    for (size_t job = 0; job < jobs_.size(); ++job) {
      uint32_t taken = kTaken + kFirstWorker + worker;
      board_->slot(job).state.compare_exchange_strong(taken, kFailed);
    }
  });
}

SearchCrew::State SearchCrew::state(size_t job) {
  look_after();
  switch (board_->slot(job).state.load(std::memory_order_acquire)) {
    case kOpen:
      return State::kOpen;
    case kDone:
      return State::kDone;
    case kFailed:
      return State::kFailed;
    default:
      return State::kTaken;
  }
}

const SearchResult& SearchCrew::result(size_t job) const { return board_->slot(job).result; }

bool SearchCrew::answered(size_t job) {
  for (; job < jobs_.size(); ++job) {
    if (state(job) != State::kDone) return false;
    if (result(job).hit) return true;
  }
  return true;
}

bool SearchCrew::take_as(size_t job, uint32_t owner) {
  uint32_t open = kOpen;
  return board_->slot(job).state.compare_exchange_strong(open, kTaken + owner);
}

bool SearchCrew::take(size_t job) { return take_as(job, kMaker); }

std::optional<size_t> SearchCrew::take_near(size_t job) {
  // Further than what all of them do meanwhile would keep it from the answer for long.
  const size_t end = std::min(jobs_.size(), job + 1 + 2 * (workers_.count() + 1));
  while (++job < end && !board_->is_idle(job)) {
    if (take(job)) return job;
  }
  return std::nullopt;
}

void SearchCrew::finish(size_t job, const SearchResult& result) {
  board_->put(job, kMaker, result);
}
void SearchCrew::fail(size_t job) { board_->slot(job).state = kFailed; }
void SearchCrew::give_back(size_t job) { board_->slot(job).state = kOpen; }

std::optional<size_t> SearchCrew::take_next(uint32_t owner) {
  for (size_t job = 0; job < jobs_.size() && !board_->is_idle(job); ++job) {
    if (take_as(job, owner)) return job;
  }
  return std::nullopt;
}

void SearchCrew::search_all(uint32_t owner, const Search& search) {
  while (const std::optional<size_t> job = take_next(owner)) {
    const auto result = search(jobs_[*job], [&] { return board_->is_idle(*job); });
    if (!result) {
      // The maker searches there as well, and has the error then.
      fail(*job);
      return;
    }
    if (result->interrupted) {
      give_back(*job);
    } else {
      board_->put(*job, owner, *result);
    }
  }
}

}  // namespace rchk::timeline
