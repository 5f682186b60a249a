#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace rchk::syscalls {

// A request of ioctl whose output is one object of fixed size.
struct Ioctl {
  uint32_t request = 0;
  std::string_view name;
  uint16_t bytes = 0;
};

// The row of a request, or null when the table does not know it.
const Ioctl* find_ioctl(uint32_t request);
std::span<const Ioctl> all_ioctls();

}  // namespace rchk::syscalls
