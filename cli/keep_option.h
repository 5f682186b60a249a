#pragma once

#include <string>

#include "base/result.h"
#include "engine/trace/writer.h"

namespace rchk::cli {

// "30s", "10min", "2h"; "500MB", "2GB", "64MiB". kMisuse, naming what it may be, for anything else.
Result<trace::Keep> parse_keep(const std::string& text);

}  // namespace rchk::cli
