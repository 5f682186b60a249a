#include "cli/standard_streams.h"

#include <fcntl.h>

namespace rchk::cli {

namespace {

std::array<int, 3> given = {0, 1, 2};

}  // namespace

void fill_standard_streams() {
  for (int& stream : given) {
    if (fcntl(stream, F_GETFD) >= 0) continue;
    // The lowest number that is free (open(2)), which is this one.
    if (open("/dev/null", O_RDWR) == stream) stream = -1;
  }
}

std::array<int, 3> given_standard_streams() { return given; }

}  // namespace rchk::cli
