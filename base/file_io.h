#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace rchk {

// Reads from `offset` on until `out` is full, the file ends, or a read fails (pread(2)). Returns
// the bytes read; where they are fewer than asked for, errno is 0 at the file's end.
size_t read_at(int file, uint64_t offset, std::span<uint8_t> out);

}  // namespace rchk
