#pragma once

#include <array>

namespace rchk::cli {

// Opens /dev/null in place of the standard streams that rchk was started without: a file of its
// own would get their numbers, and with it what is written to them. To be called first.
void fill_standard_streams();

// The standard streams that rchk was started with; -1 for each that there was none of.
std::array<int, 3> given_standard_streams();

}  // namespace rchk::cli
