#pragma once

#include <sys/stat.h>
#include <sys/types.h>

namespace rchk::record {

// File systems that programs provide (FUSE). Where such a program is recorded, whoever reads a file
// of its waits for a task that the recorder has stopped: the recorder must not. None of these
// looks at the files themselves. Source: proc_pid_mountinfo(5).

// True for /dev/fuse, by which a program begins to provide one.
bool is_fuse_device(const struct stat& status);
// Whether a descriptor of a process is of a file there.
bool is_on_fuse(pid_t pid, int descriptor);
// Whether anything is mapped from there.
bool maps_from_fuse(pid_t pid);

}  // namespace rchk::record
