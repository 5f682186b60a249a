#pragma once

#include <string>

#include "snapshot/address_space.h"

namespace rchk::target {

// A guest's mappings as proc(5) shows them in /proc/PID/maps. Devices and inodes are not recorded.
std::string maps_text(const snapshot::AddressSpace& space);

}  // namespace rchk::target
