#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "engine/replay/replayer.h"
#include "engine/replay/worker_processes.h"
#include "engine/trace/snapshot.h"

namespace rchk::timeline {

// A stretch of history that can be searched on its own: a guest is made of the page snapshot at its
// begin.
struct SearchJob {
  Position begin, end;
  trace::SnapshotNumber station;
};

// What a search of a stretch came to. Plain bytes: it is passed between processes.
struct SearchResult {
  std::optional<replay::FoundHit> hit;  // the last one
  bool interrupted = false;
  bool refused = false;  // there were hits that did not count, or that came too late
};

// Worker processes that search stretches of one history beside the process that made them, which
// takes a part in it. Jobs are numbered from the latest stretch back, and taken in that order.
//
// REQUIRES: the maker is one thread when it starts a crew (replay::WorkerProcesses).
class SearchCrew {
 public:
  using GiveUp = std::function<bool()>;
  using Search = std::function<Result<SearchResult>(const SearchJob&, const GiveUp&)>;
  // Called once in each worker, with the core that it runs on.
  using MakeSearch = std::function<Result<Search>(int cpu)>;

  // One worker for each of `cpus`. Null where none can be started.
  static std::unique_ptr<SearchCrew> start(std::vector<SearchJob> jobs, std::span<const int> cpus,
                                           const MakeSearch& make_search);
  // Ends the workers; when it returns there are none.
  ~SearchCrew();
  SearchCrew(const SearchCrew&) = delete;
  SearchCrew& operator=(const SearchCrew&) = delete;

  const std::vector<SearchJob>& jobs() const { return jobs_; }
  // The job whose stretch has what lies right before `position`.
  std::optional<size_t> job_before(const Position& position) const;

  enum class State : uint8_t { kOpen, kTaken, kDone, kFailed };
  State state(size_t job);
  // REQUIRES: the state is kDone.
  const SearchResult& result(size_t job) const;
  // Whether what is known says what the last hit at or before `job` is.
  bool answered(size_t job);
  // Whether it was a worker who did it. REQUIRES: the state is kDone.
  bool is_by_worker(size_t job) const;
  bool has_workers();
  // Workers begin nothing more, and end.
  void end_soon();

  // For the maker: takes a job that is open; false if it is not. Some open job not far before
  // `job`, if there is one.
  bool take(size_t job);
  std::optional<size_t> take_near(size_t job);
  // What became of a job that it has taken.
  void finish(size_t job, const SearchResult& result);
  void fail(size_t job);
  void give_back(size_t job);

 private:
  struct Slot;
  struct Board;
  SearchCrew(std::vector<SearchJob> jobs, replay::SharedMemory memory);
  bool take_as(size_t job, uint32_t owner);
  std::optional<size_t> take_next(uint32_t owner);
  void search_all(uint32_t owner, const Search& search);
  // Takes note of workers that have ended; whether any is left.
  bool look_after();

  std::vector<SearchJob> jobs_;
  replay::SharedMemory memory_;
  Board* board_;  // in it
  replay::WorkerProcesses workers_;
};

}  // namespace rchk::timeline
