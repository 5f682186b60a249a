#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <optional>
#include <random>

#include <unistd.h>

#include "cli/commands.h"
#include "cli/describe_recording.h"
#include "cli/keep_option.h"
#include "cli/saver.h"
#include "cli/signals.h"
#include "cli/standard_streams.h"
#include "cli/trace_folder.h"
#include "engine/record/recorder.h"
#include "engine/trace/writer.h"
#include "snapshot/tracker_probe.h"

extern char** environ;

namespace rchk::cli {

namespace {

// The guest that signals to rchk are meant for.
std::atomic<pid_t> forward_to{0};

// A program that sends it to its whole process group has sent it to the guest as well.
void forward_signal(int number, siginfo_t* info, void*) {
  const int kept = errno;
  const pid_t pid = forward_to.load();
  if (pid > 0 && !(info->si_code == SI_USER && is_traced_here(info->si_pid))) kill(pid, number);
  errno = kept;
}

// Signals that the terminal sends, or a program to its process group, reach the guest by
// themselves; rchk must outlive them. Those that are sent to rchk alone are meant for the guest,
// but for SIGUSR1 (cli/saver.h).
void take_care_of_signals(pid_t guest) {
  forward_to = guest;
  outlive_signals();
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGQUIT, SIG_IGN);
  struct sigaction action {};
  action.sa_sigaction = forward_signal;
  action.sa_flags = SA_RESTART | SA_SIGINFO;
  for (const int number : {SIGTERM, SIGHUP, SIGUSR2}) {
    sigaction(number, &action, nullptr);
  }
}

Result<std::optional<uint64_t>> chaos_seed(const std::string& wanted) {
  using Answer = std::optional<uint64_t>;
  if (wanted.empty()) return Answer();
  if (wanted == "random") return Answer(std::random_device()());  // 32 bits, to be typed again
  uint64_t seed = 0;
  const char* end = wanted.data() + wanted.size();
  const auto parsed = std::from_chars(wanted.data(), end, seed);
  if (parsed.ec == std::errc() && parsed.ptr == end) return Answer(seed);
  return fail(ErrorKind::kMisuse, fmt::format("--chaos={}: the seed is to be a number", wanted));
}

Result<int> record(const RecordOptions& options) {
  std::string path = options.output;
  if (path.empty()) {
    RCHK_TRY_ASSIGN(path, new_recording_path(options.program[0]));
  }
  record::RecorderOptions settings;
  settings.program.arguments = options.program;
  settings.program.standard_fds = given_standard_streams();
  for (char** variable = environ; *variable != nullptr; ++variable) {
    settings.program.environment.emplace_back(*variable);
  }
  RCHK_TRY_ASSIGN(settings.chaos_seed, chaos_seed(options.chaos));
  if (settings.chaos_seed) {
    fmt::print(stderr, "rchk: chaos, seed {0}: --chaos={0} makes the same choices\n",
               *settings.chaos_seed);
  }
  if (options.checksums_ms) {
    settings.checksum_interval = std::chrono::milliseconds(*options.checksums_ms);
    settings.checksum_share = 0;
  }
  settings.snapshot_overhead_percent = options.snapshot_overhead_percent.value_or(5);
  settings.snapshot_bytes_per_second =
      static_cast<uint64_t>(options.snapshot_disk_megabytes.value_or(1.25) * 1e6);
  if (options.snapshot_overhead_percent || options.snapshot_disk_megabytes) {
    settings.longest_snapshot_interval = std::chrono::seconds(10);
  }
  if (options.snapshots_ms) {
    settings.snapshot_interval = std::chrono::milliseconds(*options.snapshots_ms);
    // Whatever they cost.
    settings.snapshot_overhead_percent = 1e9;
    settings.snapshot_bytes_per_second = 0;
  }
  if (!options.dirty_tracker.empty()) {
    RCHK_TRY_ASSIGN(settings.dirty_tracker, snapshot::tracker_named(options.dirty_tracker));
  }
  settings.message = [](std::string_view text) { fmt::print(stderr, "rchk: {}\n", text); };
  trace::WriterOptions writing;
  writing.message = settings.message;
  if (!options.no_agent) settings.agent_after = options.agent_after;
  if (!options.keep.empty()) {
    RCHK_TRY_ASSIGN(writing.keep, parse_keep(options.keep));
    if (settings.snapshot_overhead_percent == 0) {
      return fail(ErrorKind::kMisuse,
                  "--keep needs page snapshots: not with --snapshot-overhead 0");
    }
  }
  RCHK_TRY_ASSIGN(const auto writer, trace::TraceWriter::create(path, describe_recording(settings),
                                                                std::move(writing)));
  RCHK_TRY_ASSIGN(const auto saver, Saver::start(*writer, path));
  auto recorder = record::Recorder::start(settings, *writer);
  if (!recorder) {
    if (options.output.empty()) unlink(path.c_str());
    return tl::make_unexpected(recorder.error());
  }
  take_care_of_signals((*recorder)->pid());
  saver->set_guest((*recorder)->pid());
  RCHK_TRY_ASSIGN(const record::RecorderStop stop, (*recorder)->run({}));
  // A full disk takes nothing from the guest, whose status is what counts.
  const Result<void> closed = writer->close();
  const bool is_news = !closed && !stop.message.starts_with(closed.error().message());
  if (is_news) settings.message(closed.error().message());
  if (stop.cause != record::StopCause::kRecordingStopped) {
    return stop.signal != 0 ? 128 + stop.signal : stop.status;
  }
  RCHK_TRY_ASSIGN(const tracee::StopStatus end, (*recorder)->wait_for_guest());
  const bool killed = end.kind == tracee::StopStatus::Kind::kKilled;
  return killed ? 128 + end.value : end.value;
}

}  // namespace

int run_record(const RecordOptions& options) {
  const auto result = record(options);
  return result ? *result : report(result.error());
}

}  // namespace rchk::cli
