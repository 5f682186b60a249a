#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include <sys/stat.h>
#include <sys/types.h>

#include "base/fd.h"
#include "base/result.h"
#include "engine/trace/source.h"
#include "snapshot/address_space.h"

namespace rchk::record {

// Opens the file behind a mapping of a process: by its range, which needs a privilege, by its name
// as that process sees it, if that is still the same file, or by a descriptor that the process has.
Result<FileDescriptor> open_mapped_file(pid_t pid, const snapshot::ProcMapsEntry& entry);
// Opens anew, for reading, what descriptor `fd` of a process refers to. The guest's own file
// offset is not touched.
Result<FileDescriptor> open_guest_file(pid_t pid, int fd);
// The same by a path that leads there.
Result<FileDescriptor> open_guest_file(const std::string& path);

// When the file was modified last, in ns since the epoch.
int64_t modified_ns(const struct stat& status);

// Gives files that a guest maps to the recording, each version of a file once, and of each only
// the ranges that are mapped.
class FileStore {
 public:
  explicit FileStore(trace::EventSink& sink) : sink_(sink) {}

  // The id of an open file as it is now. kUnsupported when it is no regular file.
  Result<snapshot::FileId> add(const FileDescriptor& file, const std::string& path);
  // The id of memory that is shared without a file, or by one that cannot be opened, which the
  // kernel gives a device and an inode. It is at least so large.
  Result<snapshot::FileId> add_object(uint64_t device, uint64_t inode, uint64_t size_bytes);
  // Forgets all other files: what is mapped of them later is stored anew, under other ids.
  void keep_only(const std::set<snapshot::FileId>& kept);
  // Stores what is in `size_bytes` bytes from `offset_bytes` on, whole pages; nothing is stored
  // behind the file's end.
  Result<void> add_range(snapshot::FileId id, const FileDescriptor& file, uint64_t offset_bytes,
                         uint64_t size_bytes);
  // The same by other means. `read`: what lies at `at`; the bytes that it got, 0 at the end, or -1
  // with an errno.
  using ReadFile = std::function<ssize_t(uint64_t at, std::span<uint8_t> bytes)>;
  Result<void> add_range(snapshot::FileId id, uint64_t offset_bytes, uint64_t size_bytes,
                         const ReadFile& read);
  // The guest may change this file, whatever version of it is mapped, through memory, which leaves
  // no trace in its times: what is mapped from it later is stored anew.
  // REQUIRES: add() returned `id`.
  void mark_changeable(snapshot::FileId id) { changeable_.insert(inode_of(id)); }

  // The guest has a private mapping of it, or had one.
  void note_private_view(snapshot::FileId id) { viewed_privately_.insert(inode_of(id)); }
  bool may_be_viewed_privately(snapshot::FileId id) const {
    return viewed_privately_.count(inode_of(id)) != 0;
  }

  // The guest has opened this file, mapped or not, so that it can write to it by calls.
  void note_opened_for_writing(uint64_t device, uint64_t inode);
  // Whether calls may change the file: what of it is mapped, privately too, changes with it.
  bool any_may_be_written() const { return !writable_.empty(); }
  bool any_may_be_changed() const { return !writable_.empty() || !changeable_.empty(); }
  bool may_be_written(snapshot::FileId id) const { return writable_.count(id) != 0; }
  // Whether the guest may change it through memory: another process, or another view of it.
  bool may_be_stored_to(snapshot::FileId id) const { return changeable_.count(inode_of(id)) != 0; }
  // Whether the guest may change the file, by calls or through memory.
  bool may_be_changed(snapshot::FileId id) const {
    return may_be_written(id) || may_be_stored_to(id);
  }

  // Whether some version of a file was added.
  bool has(uint64_t device, uint64_t inode) const { return inodes_.count({device, inode}) != 0; }

  // A file in one of its versions.
  struct Version {
    uint64_t device = 0, inode = 0, size_bytes = 0;
    int64_t mtime_ns = 0;
  };
  // REQUIRES: add() returned `id`.
  const Version& version(snapshot::FileId id) const { return versions_.at(id); }
  // Whether two are versions of one file.
  bool are_of_one_file(snapshot::FileId one, snapshot::FileId other) const {
    return one == other || inode_of(one) == inode_of(other);
  }

 private:
  // Device, inode, modification time in ns, size.
  using Key = std::tuple<uint64_t, uint64_t, int64_t, uint64_t>;

  using Inode = std::pair<uint64_t, uint64_t>;  // and its device before it

  Result<snapshot::FileId> add(const trace::FileInfo& info);
  Inode inode_of(snapshot::FileId id) const;

  trace::EventSink& sink_;
  std::map<Key, snapshot::FileId> ids_;
  std::map<snapshot::FileId, Version> versions_;
  std::map<snapshot::FileId, std::map<uint64_t, uint64_t>> stored_;  // begin to end
  std::set<Inode> inodes_;                                           // of versions_
  std::set<Inode> changeable_;
  std::set<Inode> viewed_privately_;
  std::set<Inode> opened_for_writing_;
  std::set<snapshot::FileId> writable_;  // of versions_, those
};

}  // namespace rchk::record
