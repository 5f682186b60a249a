#pragma once

#include <string>

#include "base/types.h"
#include "snapshot/address_space.h"

namespace rchk::target {

// A guest's mappings as proc(5) shows them in /proc/PID/maps. Devices and inodes are not recorded.
std::string maps_text(const snapshot::AddressSpace& space);

// What a thread that runs on this machine is called now (/proc/PID/task/TID/comm); empty if there
// is none such. Any bytes may be in a name, and be cut off after 15 of them: for XML and JSON, a ?
// stands for each that is no printable ASCII.
std::string thread_name(Tid process, Tid thread);

}  // namespace rchk::target
