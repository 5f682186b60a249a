#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace rchk::snapshot {

// Access rights of a mapping, in the numbers of PROT_READ, PROT_WRITE and PROT_EXEC.
enum Protection : uint8_t { kNone = 0, kRead = 1, kWrite = 2, kExecute = 4 };

// Names a file whose contents a recording holds; numbered from 0 in the order of first use.
struct FileId {
  uint32_t value = 0;
  auto operator<=>(const FileId&) const = default;
};

// Where a mapping's initial contents come from.
struct FileBacking {
  FileId file;
  uint64_t offset_bytes = 0;
  bool operator==(const FileBacking&) const = default;
};

// One mapping of a guest: a range of whole pages that share their attributes.
struct Mapping {
  AddressRange range;
  uint8_t protection = kNone;  // Protection bits
  bool shared = false;         // MAP_SHARED of a file, shm or memfd
  bool grows_down = false;     // the main stack
  std::optional<FileBacking> backing;
  std::string name;  // the path, "[heap]", "[stack]" or empty

  bool readable() const { return (protection & kRead) != 0; }
  bool writable() const { return (protection & kWrite) != 0; }
  bool executable() const { return (protection & kExecute) != 0; }
  bool operator==(const Mapping&) const = default;
};

// A value that says what is mapped where. Mappings never overlap; neighbours may be left unmerged.
class AddressSpace {
 public:
  // Puts `mapping` in, over whatever was there (mmap with MAP_FIXED).
  void map(Mapping mapping);
  // Forgets everything in `range`; mappings that reach out of it are cut.
  void unmap(AddressRange range);
  // Changes access rights in `range`; what is not mapped there stays so.
  void protect(AddressRange range, uint8_t protection);
  // Moves what is mapped in `from` to start at `to`, over whatever was there (mremap). When
  // `new_size` is larger than `from`, the last mapping grows; when smaller, the rest is dropped.
  void remap(AddressRange from, GuestAddress to, uint64_t new_size);

  // The mapping that holds `address`, or null.
  const Mapping* find(GuestAddress address) const;
  // The mappings that touch `range`, in order of address.
  std::vector<Mapping> overlapping(AddressRange range) const;
  const std::map<GuestAddress, Mapping>& mappings() const { return mappings_; }
  bool has_shared() const { return shared_ != 0; }
  void clear() { *this = {}; }
  bool operator==(const AddressSpace&) const = default;

 private:
  // Makes `address` a border between two mappings if it lies inside one.
  void split_at(GuestAddress address);

  std::map<GuestAddress, Mapping> mappings_;  // by range.begin
  size_t shared_ = 0;                         // of them
};

// One line of /proc/PID/maps. `device` and `inode` are 0 for anonymous memory.
struct ProcMapsEntry {
  AddressRange range;
  uint8_t protection = kNone;
  bool shared = false;
  uint64_t offset_bytes = 0;
  uint64_t device = 0;  // as st_dev of stat
  uint64_t inode = 0;
  std::string name;  // may end in " (deleted)"
};

// Parses the text of a /proc/PID/maps file (proc(5)).
Result<std::vector<ProcMapsEntry>> parse_proc_maps(std::string_view text);
// Reads and parses the maps of a process.
Result<std::vector<ProcMapsEntry>> read_proc_maps(int pid);

}  // namespace rchk::snapshot
