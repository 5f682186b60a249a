#pragma once

#include <string>

#include "base/result.h"

namespace rchk::cli {

// Where recordings are kept: $RCHK_TRACE_DIR, or $HOME/.local/share/rchk.
Result<std::string> trace_folder();
// A path for a new recording of `program`: its name and the lowest number that is free. Creates
// the folder.
Result<std::string> new_recording_path(const std::string& program);
// `file`, or the newest recording when it is empty.
Result<std::string> recording_path(const std::string& file);

}  // namespace rchk::cli
