#pragma once

#include <map>

#include <sys/types.h>

#include "engine/syscalls/descriptors.h"
#include "engine/trace/event.h"

namespace rchk::record {

// Knows which of a guest's descriptors are the standard output and error that it started with.
class OutputStreams {
 public:
  // Takes in what a call did to the descriptors of process `pid`.
  void apply(const syscalls::DescriptorChange& change, pid_t pid);
  // An execve closes what is marked for it.
  void on_exec();
  trace::OutputStream stream_of(int descriptor) const;

 private:
  struct Entry {
    trace::OutputStream stream = trace::OutputStream::kNone;
    bool close_on_exec = false;
  };
  std::map<int, Entry> streams_ = {{1, {trace::OutputStream::kStdout, false}},
                                   {2, {trace::OutputStream::kStderr, false}}};
};

// The `bytes` bytes that a call just moved from descriptor `source` of a process to another one,
// if it is a file whose position or `offset` tells which they were.
Bytes bytes_moved_from(pid_t pid, int source, uint64_t bytes, std::optional<uint64_t> offset);

}  // namespace rchk::record
