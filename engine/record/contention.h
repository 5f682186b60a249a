#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include <sys/types.h>

namespace rchk::record {

// struct sched_attr of linux/sched/types.h, which cannot be included beside sched.h.
struct SchedulingAttributes {
  uint32_t size = sizeof(SchedulingAttributes), policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0, deadline_ns = 0, period_ns = 0;
  uint32_t least_use = 0, most_use = 0;
};
constexpr uint64_t kResetsOnFork = 1;  // of `flags`

// Other programs on the recorder's core (docs/notes/tasks.md, "On busy machines").
//
// Where it waits for a task that the kernel is busy with, the recorder yields, which costs nothing
// while the core is its own. Beside programs that compute each yield puts it off by a slice
// (kernel/sched/fair.c, yield_task_fair), and whoever a stop wakes waits for the slices of others:
// a program whose threads hand over to each other all the time hardly runs. There the recorder
// sleeps for moments instead, and it and its tracees ask for short slices, which go before longer
// ones (Linux 6.12, PREEMPT_SHORT).
//
// Belongs to one thread.
class CoreContention {
 public:
  // `program_ns`: how long the program has had a processor, all of its processes.
  explicit CoreContention(std::function<uint64_t()> program_ns)
      : program_ns_(std::move(program_ns)) {}
  ~CoreContention() { leave(); }
  CoreContention(const CoreContention&) = delete;
  CoreContention& operator=(const CoreContention&) = delete;

  // Lets a task of the same core run for a while, or until it sleeps.
  void let_run();
  // At a stop, where no task of the program runs: lets the core do what else it has to, now and
  // then. A recorder and its tracee hand over to each other without a gap, and a kernel may leave
  // its own threads of that core waiting meanwhile (docs/notes/tasks.md).
  void leave_a_gap();
  // Whether the program hardly gets to run beside others.
  bool crowded() const { return crowded_; }

 private:
  void sleep_a_moment(uint64_t now_ns);
  void decide(uint64_t now_ns);
  void enter();
  void leave();

  std::function<uint64_t()> program_ns_;
  bool crowded_ = false;
  uint64_t period_began_ns_ = 0, program_then_ns_ = 0;
  uint64_t lost_ns_ = 0;  // in long yields, since the period began
  int free_yields_ = 0;
  uint64_t next_gap_ns_ = 0;
  int stops_ = 0;  // since the last gap was thought of
  uint64_t sleep_ns_ = 0, slept_until_ns_ = 0;
};

inline constexpr uint64_t kCrowdedSliceNs = 100'000;

// What a thread asks for its time slices; 0: the kernel's own. Kernels before Linux 6.12 leave it.
void ask_for_slices(pid_t tid, uint64_t slice_ns);
// Gives a task what it believes to have.
void give_real_time(pid_t tid, SchedulingAttributes believed);

}  // namespace rchk::record
