#pragma once

#include <string_view>

namespace rchk::trace {

// A page of a guest's memory that begins like this has code of the recorder's in it, which stands
// for instructions of the program's (docs/notes/agent.md, "The counter"). A step goes over it.
inline constexpr std::string_view kStandInPage = "rchk: for RDTSC\n";

}  // namespace rchk::trace
