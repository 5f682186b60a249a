#pragma once

#include "base/registers.h"
#include "base/result.h"
#include "engine/tracee/tracee.h"

namespace rchk::tracee {

// As Tracee::set_registers(), of a tracee whose registers are `now`, and where few of them are to
// change: 0.3 us for each, against 2.2 for all, which include the bases of fs and gs.
Result<void> change_registers(const Tracee& tracee, const Registers& now, const Registers& to);

}  // namespace rchk::tracee
