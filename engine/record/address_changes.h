#pragma once

#include <optional>
#include <vector>

#include "engine/record/files.h"
#include "engine/record/image.h"
#include "engine/syscalls/address_space.h"
#include "engine/syscalls/syscall.h"
#include "engine/trace/event.h"
#include "engine/tracee/tracee.h"
#include "snapshot/dirty_tracker.h"
#include "snapshot/range_set.h"

namespace rchk::record {

// What one system call did to a guest's memory by changing what is mapped.
struct AddressChanges {
  std::vector<trace::AddressSpaceChange> changes;
  std::vector<trace::MemoryWrite> writes;  // contents that no file explains
};

// Turns the effects of a call that has just returned into what a replay is to do. Adds mapped file
// contents to `files`, and takes the changes into `space`, which is what was mapped before. What is
// mapped in `hidden` is no memory of the guest's.
Result<AddressChanges> recorded_changes(const syscalls::AddressSpaceEffects& effects,
                                        const tracee::Tracee& tracee, FileStore& files,
                                        snapshot::AddressSpace& space,
                                        const snapshot::RangeSet& hidden, const Note& note);

// The path at `address` of the memory of process `pid`, as another process can open it.
std::string path_seen_by(pid_t pid, GuestAddress address);

// The file whose contents a call of `writer` that has just returned has changed, by a path that
// leads there from here.
std::optional<std::string> changed_file(const syscalls::Call& call, int64_t result, pid_t writer);
// Whether that was mapped by anybody, as few of the files are that programs write to.
bool changes_stored_file(const syscalls::Call& call, int64_t result, pid_t writer,
                         const FileStore& files);

// Adds to `found` what a call of `writer` that has just returned did to mappings of a file in
// `space`, the memory of `tracee`, by changing the file.
Result<void> add_file_changes(const syscalls::Call& call, int64_t result, pid_t writer,
                              const tracee::Tracee& tracee, FileStore& files,
                              snapshot::AddressSpace& space, AddressChanges& found);

// A hole that a call has made in a file through memory.
struct FileHole {
  snapshot::FileId file;
  uint64_t offset_bytes = 0, size_bytes = 0;
};
// Those of a call that has just returned (MADV_REMOVE), of a process with `space`.
std::vector<FileHole> holes_made(const syscalls::Call& call, int64_t result,
                                 const snapshot::AddressSpace& space);
// Adds to `found` what private mappings in `space`, the memory of `tracee`, show of them.
Result<void> add_holes(const std::vector<FileHole>& holes, const tracee::Tracee& tracee,
                       const FileStore& files, const snapshot::AddressSpace& space,
                       AddressChanges& found);

// Where in its file a call that has just returned began to write; nothing where it cannot be told.
std::optional<uint64_t> offset_written(const syscalls::Call& call, int64_t result, pid_t pid);

// The changes by which the memory of `child`, a fork of a process with `space`, differs from its
// parent's. Takes them into `space`, which is the child's then.
Result<AddressChanges> changes_by_fork(const tracee::Tracee& child, FileStore& files,
                                       snapshot::AddressSpace& space, const Note& note);

// The kernel grows stacks as they are used, which no call says: takes that into `space`.
Result<void> grow_stacks(pid_t pid, snapshot::AddressSpace& space);

// Tells a tracker of contents that came otherwise than by writes.
void note_changes(const std::vector<trace::AddressSpaceChange>& changes,
                  snapshot::DirtyTracker& tracker);

// Applies a recorded change to a map of an address space.
void apply_change(const trace::AddressSpaceChange& change, snapshot::AddressSpace& space);

}  // namespace rchk::record
