#include <algorithm>
#include <chrono>
#include <cstdio>

#include <sys/wait.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/serve.h"
#include "cli/trace_folder.h"
#include "engine/replay/parallel_replay.h"
#include "engine/replay/replayer.h"
#include "engine/replay/shared_stores.h"
#include "engine/syscalls/syscall.h"
#include "engine/timeline/timeline.h"
#include "engine/trace/reader.h"
#include "gdbserver/target/timeline_family.h"
#include "gdbserver/target/timeline_target.h"

namespace rchk::cli {

namespace {

std::string syscall_name(int number) { return std::string(syscalls::name(number)); }

Result<std::unique_ptr<trace::TraceReader>> open_recording(const std::string& file) {
  RCHK_TRY_ASSIGN(const std::string path, recording_path(file));
  RCHK_TRY_ASSIGN(std::unique_ptr<trace::TraceReader> reader, trace::TraceReader::open(path));
  if (!reader->is_complete()) {
    fmt::print(stderr, "rchk: {}\n", reader->torn_tail_note());
  }
  if (reader->event_count() == 0) {
    return fail(ErrorKind::kBadTrace, fmt::format("{} holds no event", path));
  }
  if (const auto dropped = reader->dropped()) {
    fmt::print(stderr, "rchk: the first {} events, {:.3f} s, were dropped\n", dropped->events,
               static_cast<double>(dropped->time_ns) / 1e9);
  }
  return reader;
}

// The cores of as many worker processes as are beside this one when `jobs` work; without a number
// all others that there are.
std::vector<int> cores_for_workers(const Pinned& pinned, std::optional<uint32_t> jobs) {
  if (!jobs) return pinned.others;
  const std::vector<int> there =
      pinned.others.empty() ? std::vector<int>{pinned.cpu} : pinned.others;
  std::vector<int> cores;
  for (uint32_t i = 1; i < *jobs; ++i) cores.push_back(there[(i - 1) % there.size()]);
  return cores;
}

void write_all(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(fd, bytes.data(), bytes.size());
    if (put <= 0) return;  // nobody reads any more: the replay goes on for its exit status
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
}

using replay::ReplayTotals;

// What a whole replay came to.
struct Summary {
  ReplayTotals totals;
  std::optional<trace::ExitEvent> exit;
};

// How a whole recording is replayed.
struct WholeReplay {
  replay::ParallelReplay::OnEvent on_event;        // in the log's order; may be empty
  replay::ParallelReplay::OnProgress on_progress;  // may be empty
  bool restores = false;
  std::optional<uint32_t> jobs;
  std::optional<EventNumber> end;  // a TaskEndEvent by which the program ends, and others go on
};

Result<Summary> summarized(trace::EventSource& source, const ReplayTotals& totals) {
  Summary summary{totals, std::nullopt};
  if (!totals.exit) return summary;
  RCHK_TRY_ASSIGN(const auto event, source.event(*totals.exit));
  if (const auto* end = std::get_if<trace::TaskEndEvent>(&event->body)) {
    // Others went on in its memory.
    summary.exit.emplace();
    const bool killed = WIFSIGNALED(end->status);
    summary.exit->reason = killed ? trace::ExitReason::kKilled : trace::ExitReason::kExited;
    summary.exit->status = killed ? WTERMSIG(end->status) : WEXITSTATUS(end->status);
  } else {
    summary.exit = std::get<trace::ExitEvent>(event->body);
  }
  return summary;
}

// Replays all from the start to the end, on all cores as far as it falls into pieces.
Result<Summary> replay_everything(trace::EventSource& recording, const Pinned& pinned,
                                  const WholeReplay& how) {
  RCHK_TRY_ASSIGN(
      replay::ParallelReplay whole,
      replay::ParallelReplay::plan(recording, {pinned.cpu, cores_for_workers(pinned, how.jobs),
                                               how.restores, how.jobs > 1u, syscall_name}));
  RCHK_TRY_ASSIGN(const ReplayTotals totals, whole.run(how.on_event, how.on_progress));
  return summarized(recording, totals);
}

// Replays one process of several from the start to the end, in one go. REQUIRES: how.on_event
Result<Summary> replay_one(trace::EventSource& source, int cpu, const WholeReplay& how) {
  RCHK_TRY_ASSIGN(const auto replayer, replay::Replayer::create(source, cpu));
  replayer->name_syscalls_with(syscall_name);
  replayer->on_event([&how](EventNumber number, const trace::Event& event, const replay::Guest&) {
    return how.on_event(number, event);
  });
  RCHK_TRY_ASSIGN(replay::Guest guest, replayer->start());
  replay::AdvanceRequest request;
  if (how.end) request.limit = {*how.end, 0, 0, 0};
  RCHK_TRY_ASSIGN(const replay::Outcome outcome, replayer->advance(guest, request));
  ReplayTotals totals;
  if (outcome.stop == replay::AdvanceStop::kExit) totals.exit = outcome.event;
  if (outcome.stop == replay::AdvanceStop::kLimit) totals.exit = how.end;
  return summarized(source, totals);
}

// A recording of several processes as a replay of one of them needs it.
class OneOfSeveral {
 public:
  // For a debugger, `progress` is told how far those have come that store to the same memory.
  OneOfSeveral(trace::EventSource& recording, int cpu, const Progress* progress = nullptr)
      : progress_(progress),
        stores_(recording, cpu, syscall_name,
                {[this](uint64_t steps, uint64_t all) { show_progress(steps, all); },
                 [this](std::string_view text) { note(text); }}),
        history_(recording, stores_) {}
  trace::EventSource& recording() { return history_; }
  // What the debugger's user is to read.
  std::string take_notes() { return std::exchange(notes_, {}); }

 private:
  using Clock = std::chrono::steady_clock;

  void note(std::string_view text) {
    // Where gdb has a pipe, standard error is nowhere as soon as it is served.
    const std::string line = fmt::format("rchk: {}\n", text);
    fmt::print(stderr, "{}", line);
    if (progress_ != nullptr) notes_ += line;
  }

  // Of a run that takes long, on a terminal or in a debugger.
  void show_progress(uint64_t steps, uint64_t all) {
    const auto words = [&] { return progress_of_stores(steps, all); };
    if (progress_ != nullptr) progress_->tell(words);
    constexpr std::chrono::milliseconds kPause(500);
    if (begin_ == Clock::time_point()) begin_ = shown_ = Clock::now();
    const bool is_over = steps >= all;
    if (!is_over && Clock::now() - shown_ > kPause && isatty(STDERR_FILENO) != 0) {
      fmt::print(stderr, "\r{}", words());
      shown_ = Clock::now();
    }
    if (!is_over) return;
    if (shown_ != begin_) fmt::print(stderr, "\r\033[K");
    begin_ = shown_ = Clock::time_point();
  }

  const Progress* progress_;
  std::string notes_;
  Clock::time_point begin_, shown_;
  replay::SharedStores stores_;
  replay::SharedHistory history_;
};

int exit_status_of(const Summary& summary) {
  if (!summary.exit) return 0;
  const bool killed = summary.exit->reason == trace::ExitReason::kKilled;
  return killed ? 128 + summary.exit->status : summary.exit->status;
}

Result<int> autopilot(const ReplayOptions& options) {
  RCHK_TRY_ASSIGN(const auto reader, open_recording(options.file));
  RCHK_TRY_ASSIGN(const Pinned pinned, pin_here());
  OneOfSeveral whole(*reader, pinned.cpu);
  ChosenProcess chosen;
  if (options.process.is_made()) {
    RCHK_TRY_ASSIGN(chosen, choose_process(whole.recording(), options.process));
  }
  WholeReplay how;
  how.jobs = options.jobs;
  how.end = chosen.end;
  how.on_event = [&chosen](EventNumber number, const trace::Event& event) -> Result<void> {
    const auto* call = std::get_if<trace::SyscallEvent>(&event.body);
    if (call == nullptr || call->output == trace::OutputStream::kNone) return {};
    if (number < chosen.beginning) return {};
    write_all(call->output == trace::OutputStream::kStdout ? STDOUT_FILENO : STDERR_FILENO,
              call->output_bytes);
    return {};
  };
  RCHK_TRY_ASSIGN(const Summary summary, chosen.source != nullptr
                                             ? replay_one(*chosen.source, pinned.cpu, how)
                                             : replay_everything(*reader, pinned, how));
  if (!summary.exit) {
    fmt::print(stderr, "rchk: the recording ends before the program does\n");
  } else if (summary.exit->reason == trace::ExitReason::kRecorderStopped) {
    fmt::print(stderr, "rchk: the recording ends here: {}\n", summary.exit->message);
  } else if (!summary.exit->message.empty()) {
    fmt::print(stderr, "rchk: {}\n", summary.exit->message);
  }
  return exit_status_of(summary);
}

// All cores search a long way back; a number that is asked for does so from the first stretch on.
timeline::Timeline::SearchOptions search_options(const Pinned& pinned,
                                                 std::optional<uint32_t> jobs) {
  timeline::Timeline::SearchOptions options;
  options.cores = cores_for_workers(pinned, jobs);
  if (jobs) options.patience_ns = 0;
  return options;
}

Result<int> serve_recording(const ReplayOptions& options) {
  std::unique_ptr<protocol::Transport> transport;
  // Opened first: an error still reaches the terminal.
  RCHK_TRY_ASSIGN(const auto reader, open_recording(options.file));
  RCHK_TRY_ASSIGN(const Pinned pinned, pin_here());
  Progress progress;
  OneOfSeveral whole(*reader, pinned.cpu, &progress);
  // The way to where a process begins may be long.
  std::optional<KeepWaiting> keep_waiting;
  if (!options.port) keep_waiting.emplace();
  RCHK_TRY_ASSIGN(const ChosenProcess chosen, choose_process(whole.recording(), options.process));
  RCHK_TRY_ASSIGN(const auto timeline,
                  timeline::Timeline::open(*chosen.source, pinned.cpu, syscall_name));
  timeline->set_search_options(search_options(pinned, options.search_jobs));
  timeline->set_progress(progress);
  if (chosen.beginning.value != 0) RCHK_TRY(timeline->begin_at(chosen.beginning));
  keep_waiting.reset();
  if (options.port) {
    RCHK_TRY_ASSIGN(transport, await_debugger(*options.port));
  } else {
    RCHK_TRY_ASSIGN(transport, protocol::take_standard_streams());
  }
  target::TimelineTarget::Hooks hooks;
  hooks.take_output = [&] { return whole.take_notes(); };
  const auto count = reader->task_count();
  if (count && count->processes == 1) {
    target::TimelineTarget target(*timeline, hooks);
    RCHK_TRY(serve(target, *transport, {options.log_packets, &progress}));
    return 0;
  }
  target::TimelineFamily family(whole.recording(), *timeline, chosen.process, hooks);
  RCHK_TRY(serve(family.first(), *transport, {options.log_packets, &progress}));
  return 0;
}

Result<int> verify(const VerifyOptions& options) {
  RCHK_TRY_ASSIGN(const auto reader, open_recording(options.file));
  RCHK_TRY(reader->verify());
  const auto start = std::chrono::steady_clock::now();
  auto shown = start;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  WholeReplay how;
  how.restores = options.restore;
  how.jobs = options.jobs;
  how.on_progress = [&](uint64_t events) {
    const auto now = std::chrono::steady_clock::now();
    if (terminal && now - shown > std::chrono::milliseconds(500)) {
      // Some are two processes'.
      const uint64_t all = reader->event_count();
      fmt::print(stderr, "\rverifying: event {} of {}", std::min(events, all), all);
      shown = now;
    }
  };
  RCHK_TRY_ASSIGN(const Pinned pinned, pin_here());
  RCHK_TRY_ASSIGN(const Summary summary, replay_everything(*reader, pinned, how));
  if (terminal && shown != start) fmt::print(stderr, "\r\033[K");
  std::string note;
  if (!summary.exit)
    note = "; the recording ends before the program does";
  else if (!summary.exit->message.empty())
    note = "; " + summary.exit->message;
  std::string snapshots;
  if (reader->snapshots() != nullptr) {
    const size_t all = reader->snapshots()->marks().size();
    if (summary.totals.snapshots != all) {
      return fail(ErrorKind::kDivergence, fmt::format("the replay came by {} of {} page snapshots",
                                                      summary.totals.snapshots, all));
    }
    snapshots = fmt::format(", {} page snapshots ({} pages)", all, summary.totals.snapshot_pages);
  }
  if (options.restore) snapshots += fmt::format(", {} restored", summary.totals.snapshots_restored);
  fmt::print("verified: {} events, {} instructions, {} memory checksums{}{}\n",
             reader->event_count(), summary.totals.instructions, summary.totals.checksums,
             snapshots, note);
  return 0;
}

int status_of(const Result<int>& result) { return result ? *result : report(result.error()); }

}  // namespace

int run_replay(const ReplayOptions& options, const std::string& self) {
  if (options.autopilot) return status_of(autopilot(options));
  if (options.stdio || options.port) return status_of(serve_recording(options));
  const auto path = recording_path(options.file);
  if (!path) return report(path.error());
  // A bad file is an error here rather than in gdb.
  const auto reader = trace::TraceReader::open(*path);
  if (!reader) return report(reader.error());
  if (const auto chosen = choose_process(**reader, options.process); !chosen) {
    return report(chosen.error());
  }
  std::vector<std::string> command{"replay", "--stdio", *path};
  if (options.process.process) command.insert(command.end(), {"-p", *options.process.process});
  if (options.process.forked) command.insert(command.end(), {"-f", *options.process.forked});
  if (options.search_jobs) {
    command.insert(command.end(), {"--search-jobs", std::to_string(*options.search_jobs)});
  }
  return start_gdb(self, command, options.gdb_arguments);
}

int run_verify(const VerifyOptions& options) { return status_of(verify(options)); }

}  // namespace rchk::cli
