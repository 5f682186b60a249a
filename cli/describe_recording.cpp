#include "cli/describe_recording.h"

#include <algorithm>
#include <thread>

#include <sched.h>

#include "engine/tracee/tracee.h"

namespace rchk::cli {

trace::RecordingInfo describe_recording(record::RecorderOptions& options) {
  options.program.cpu = std::max(sched_getcpu(), 0);
  trace::RecordingInfo info;
  // On a thread of its own: threads that are made later must not be confined to that core.
  std::thread([&] {
    // Without leave to choose the core the description is that of any of them.
    static_cast<void>(tracee::pin_to_cpu(*options.program.cpu));
    info = record::Recorder::describe(options);
  }).join();
  info.rchk_version = RCHK_VERSION;
  return info;
}

}  // namespace rchk::cli
