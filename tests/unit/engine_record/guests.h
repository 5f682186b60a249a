#pragma once

#include <cstdint>

namespace rchk::record::test {

// Things in the guests that tests set breakpoints and watchpoints at. A guest is this program
// itself, position independent: its addresses differ from the test's by where it was loaded.
extern volatile uint64_t g_counter;
extern volatile uint64_t g_watched;
extern "C" void rchk_test_landmark();
extern "C" const uint8_t rchk_test_rep[];

}  // namespace rchk::record::test
