#pragma once

#include <string>

#include "engine/trace/chunk.h"

namespace rchk::trace {

// Appends a chunk to a recording that was closed, with a new index and a new trailer behind it:
// what was there stays as it is, and a file of which the end is lost is readable without the chunk.
// Several processes may do so at once. kUnsupported for a recording that was not closed.
Result<void> append_chunk(const std::string& path, ChunkHeader header, ByteView raw);

}  // namespace rchk::trace
