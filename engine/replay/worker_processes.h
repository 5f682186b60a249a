#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace rchk::replay {

// Forks of this process that do a part of its work beside it, one on each of some cores.
//
// A worker has all of its maker's memory, but none of its puppets, which are traced by the maker's
// thread; it leaves them alone, makes its own, and ends without a destructor of its maker's. What
// it finds it leaves in SharedMemory. Workers that fail, are killed or stand still cost time and
// nothing else; where memory runs out, the kernel takes them first.
//
// REQUIRES: the maker is one thread when it starts them.
class WorkerProcesses {
 public:
  // Called in each with its number, from 0, and its core; the worker ends when it returns.
  using Work = std::function<void(uint32_t worker, int cpu)>;

  WorkerProcesses() = default;
  // Ends those that are left, with all that they trace.
  ~WorkerProcesses() { end(); }
  WorkerProcesses(const WorkerProcesses&) = delete;
  WorkerProcesses& operator=(const WorkerProcesses&) = delete;

  // Starts one on each of `cpus`, or as many as can be.
  void start(std::span<const int> cpus, const Work& work);
  size_t count() const { return workers_.size(); }  // that were started
  // Whether any has not ended yet. Calls `ended` for each that was found to have, once.
  bool any_left(const std::function<void(uint32_t worker)>& ended = {});
  // Ends them all: at once those that do not end by themselves within 0.1 s.
  void end();

 private:
  std::vector<pid_t> workers_;  // by number; -1: has ended
};

// Memory that a process shares with the workers that it starts later; zeroed.
class SharedMemory {
 public:
  // Nothing where there is none to be had.
  static std::optional<SharedMemory> create(size_t size_bytes);
  SharedMemory(SharedMemory&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  SharedMemory& operator=(SharedMemory&&) = delete;
  ~SharedMemory();
  std::byte* data() const { return bytes_.data(); }  // aligned to a page

 private:
  explicit SharedMemory(std::span<std::byte> bytes) : bytes_(bytes) {}
  std::span<std::byte> bytes_;
};

}  // namespace rchk::replay
