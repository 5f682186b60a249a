#include <cstdio>

#include <fcntl.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/describe_recording.h"
#include "cli/guest_streams.h"
#include "cli/serve.h"
#include "cli/signals.h"
#include "cli/trace_folder.h"
#include "engine/record/recorder.h"
#include "engine/replay/shared_stores.h"
#include "engine/syscalls/syscall.h"
#include "engine/timeline/live_program.h"
#include "engine/trace/event_log.h"
#include "engine/trace/process_view.h"
#include "engine/trace/writer.h"
#include "engine/tracee/tracee.h"
#include "gdbserver/target/timeline_family.h"

extern char** environ;

namespace rchk::cli {

namespace {

std::string syscall_name(int number) { return std::string(syscalls::name(number)); }

Result<int> serve_live(const LiveOptions& options) {
  // Nobody is to connect to what cannot begin.
  if (options.port) RCHK_TRY(tracee::find_program(options.program[0]));
  std::string path = options.output;
  if (path.empty()) {
    RCHK_TRY_ASSIGN(path, new_recording_path(options.program[0]));
  }
  // A program that cannot be run is told on standard error, which gdb shows.
  std::string notes;
  record::RecorderOptions settings;
  settings.program.arguments = options.program;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    settings.program.environment.emplace_back(*variable);
  }
  settings.message = [&notes](std::string_view text) { notes += fmt::format("rchk: {}\n", text); };
  FileDescriptor original_error(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  RCHK_TRY_ASSIGN(GuestStreams streams, GuestStreams::sort_out(options));
  for (size_t i = 0; i < 3; ++i) settings.program.standard_fds[i] = streams.guest[i].get();

  const trace::RecordingInfo info = describe_recording(settings);
  trace::EventLog log(info);
  RCHK_TRY_ASSIGN(const auto writer, trace::TraceWriter::create(path, info));
  trace::TeeSink sink(log, *writer);
  auto started = record::Recorder::start(settings, sink);
  if (!started) {
    dup2(original_error.get(), STDERR_FILENO);
    if (options.output.empty()) unlink(path.c_str());
    const int status = report(started.error());
    // gdb shows it where it hears of the end while it reads, but not where it does by writing.
    for (int waits = 0; waits < 1000 && !streams.transport->readable(); ++waits) usleep(1000);
    return status;
  }
  // Where gdb has a pipe of it open, it looks there once for each byte that it reads of an answer.
  original_error.reset();
  const std::unique_ptr<record::Recorder> recorder = std::move(*started);
  outlive_signals();
  for (FileDescriptor& stream : streams.guest) stream.reset();

  RCHK_TRY_ASSIGN(const Pinned pinned, pin_here());
  Progress progress;
  const auto tell_stores = [&progress](uint64_t steps, uint64_t all) {
    progress.tell([&] { return progress_of_stores(steps, all); });
  };
  replay::SharedStores stores(log, pinned.cpu, syscall_name, {tell_stores, settings.message});
  replay::SharedHistory history(log, stores);
  const auto view = trace::ProcessView::of_first(history);
  timeline::LiveProgram live(*recorder, *view);
  RCHK_TRY_ASSIGN(const auto timeline,
                  timeline::Timeline::open_live(*view, live, pinned.cpu, syscall_name));
  timeline->set_progress(progress);
  RCHK_TRY(live.join(*timeline));

  target::TimelineTarget::Hooks hooks;
  hooks.take_output = [&] { return std::exchange(notes, {}) + streams.take_output(); };
  hooks.detach = [&]() -> Result<void> {
    if (!live.running()) return {};
    RCHK_TRY(recorder->stop_recording("the debugger detached"));
    return {};
  };
  target::TimelineFamily family(history, *timeline, {}, std::move(hooks));
  RCHK_TRY(serve(family.first(), *streams.transport, {options.log_packets, &progress}));
  RCHK_TRY(writer->close());
  return 0;
}

}  // namespace

int run_live(const LiveOptions& options, const std::string& self) {
  if (!options.port && (options.gdb || isatty(STDIN_FILENO) != 0)) {
    return start_gdb(self, options.program, {options.program[0]});
  }
  const auto result = serve_live(options);
  return result ? *result : report(result.error());
}

}  // namespace rchk::cli
