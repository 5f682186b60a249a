#pragma once

#include "engine/record/recorder.h"
#include "engine/trace/event.h"

namespace rchk::cli {

// Chooses the core that the guest will run on, and says what a recording made on it is to say of
// itself: CPUID's answers differ between cores.
trace::RecordingInfo describe_recording(record::RecorderOptions& options);

}  // namespace rchk::cli
