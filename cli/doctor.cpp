#include "cli/commands.h"

namespace rchk::cli {

int run_doctor() { return 0; }

}  // namespace rchk::cli
