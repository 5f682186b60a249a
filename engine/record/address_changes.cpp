#include "engine/record/address_changes.h"

#include <algorithm>
#include <cinttypes>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "engine/record/process.h"
#include "engine/syscalls/descriptors.h"
#include "snapshot/memory_reader.h"

namespace rchk::record {

namespace {

using snapshot::ProcMapsEntry;
using trace::Mapping;

// Device and inode of what is mapped.
using Object = std::pair<uint64_t, uint64_t>;

// Collects the changes of one call.
class Collector {
 public:
  Collector(const tracee::Tracee& tracee, FileStore& files, snapshot::AddressSpace& space,
            const Note& note)
      : tracee_(tracee), files_(files), space_(space), note_(note) {}

  Result<void> add(const syscalls::AddressSpaceEffect& effect) {
    if (const auto* map = std::get_if<syscalls::MapEffect>(&effect)) return add_map(*map);
    if (const auto* unmap = std::get_if<syscalls::UnmapEffect>(&effect)) {
      change(trace::UnmapChange{unmap->range});
    } else if (const auto* protect = std::get_if<syscalls::ProtectEffect>(&effect)) {
      return add_protect(*protect);
    } else if (const auto* remap = std::get_if<syscalls::RemapEffect>(&effect)) {
      return add_remap(*remap);
    } else if (const auto* discard = std::get_if<syscalls::DiscardEffect>(&effect)) {
      add_discard(*discard);
    }
    return {};  // advice for forks changes nothing here
  }

  Result<void> compare_with_maps(const snapshot::RangeSet& hidden);
  // Of what was mapped and protected.
  Result<void> compare_protection();
  // Stores what the pages of `range` hold.
  void add_contents(AddressRange range);
  AddressChanges take() { return std::move(found_); }

 private:
  void change(trace::AddressSpaceChange change) {
    if (const auto* protect = std::get_if<trace::ProtectChange>(&change)) note_writable(*protect);
    apply_change(change, space_);
    found_.changes.push_back(std::move(change));
  }
  void note_writable(const trace::ProtectChange& protect);
  Result<void> add_map(const syscalls::MapEffect& effect);
  Result<void> add_protect(const syscalls::ProtectEffect& effect);
  Result<void> add_remap(const syscalls::RemapEffect& effect);
  void add_discard(const syscalls::DiscardEffect& effect);
  Result<void> compare_part(AddressRange part, const ProcMapsEntry* now);
  Result<std::optional<snapshot::FileId>> store_mapped_file(AddressRange part,
                                                            const ProcMapsEntry& now,
                                                            uint64_t offset_bytes);
  void find_twins(const std::vector<ProcMapsEntry>& maps);

  const tracee::Tracee& tracee_;
  FileStore& files_;
  snapshot::AddressSpace& space_;
  const Note& note_;
  AddressChanges found_;
  std::set<Object> twins_;           // of which some part is mapped more than once
  std::map<Object, uint64_t> ends_;  // up to where they are mapped
};

// What a hole in a file shows; reading it would fill it again.
void add_zeros(AddressRange range, std::vector<trace::MemoryWrite>& writes) {
  constexpr uint64_t kPieceBytes = 1 << 20;
  for (GuestAddress at = range.begin; at < range.end; at = at + kPieceBytes) {
    writes.push_back({at, Bytes(std::min(kPieceBytes, range.end - at))});
  }
}

bool is_dev_zero(const FileDescriptor& file) {
  struct stat status;
  return fstat(file.get(), &status) == 0 && S_ISCHR(status.st_mode) &&
         status.st_rdev == makedev(1, 5);
}

// A view that was only read may be stored to from now on.
void Collector::note_writable(const trace::ProtectChange& protect) {
  if ((protect.protection & snapshot::kWrite) == 0) return;
  for (const auto& [begin, mapping] : space_.mappings()) {
    const bool is_view = mapping.shared && mapping.backing;
    if (is_view && mapping.range.overlaps(protect.range)) {
      files_.mark_changeable(mapping.backing->file);
    }
  }
}

Result<void> Collector::add_map(const syscalls::MapEffect& effect) {
  Mapping mapping;
  mapping.range = effect.range;
  mapping.protection = effect.protection;
  mapping.shared = effect.shared;
  mapping.grows_down = effect.grows_down;
  if (effect.heap) mapping.name = "[heap]";
  if (effect.backing == syscalls::Backing::kAnonymous) {
    change(trace::MapChange{std::move(mapping)});
    return {};
  }
  const std::string path = read_proc_link(tracee_.pid(), fmt::format("fd/{}", effect.descriptor));
  mapping.name = path;
  const Result<FileDescriptor> file = open_guest_file(tracee_.pid(), effect.descriptor);
  if (file && is_dev_zero(*file)) {
    change(trace::MapChange{std::move(mapping)});
    return {};
  }
  Result<snapshot::FileId> id =
      file ? files_.add(*file, path) : Result<snapshot::FileId>(Failure(file.error()));
  if (id) {
    RCHK_TRY(files_.add_range(*id, *file, effect.offset_bytes, effect.range.size()));
    mapping.backing = snapshot::FileBacking{*id, effect.offset_bytes};
    if (effect.shared && (effect.protection & snapshot::kWrite) != 0) files_.mark_changeable(*id);
    change(trace::MapChange{std::move(mapping)});
    return {};
  }
  note_(
      fmt::format("{} is mapped: {}. What is there now is recorded; what others than the "
                  "program change there later is not.",
                  path, id.error().message()));
  const AddressRange range = mapping.range;
  change(trace::MapChange{std::move(mapping)});
  add_contents(range);
  return {};
}

Result<void> Collector::add_protect(const syscalls::ProtectEffect& effect) {
  AddressRange range = effect.range;
  if (effect.to_mapping_start) {
    RCHK_TRY(grow_stacks(tracee_.pid(), space_));
    if (const Mapping* mapping = space_.find(range.begin)) range.begin = mapping->range.begin;
  }
  change(trace::ProtectChange{range, effect.protection});
  return {};
}

// Where a mapping of a file grows, more of the file comes to light.
Result<void> Collector::add_remap(const syscalls::RemapEffect& effect) {
  const Mapping* const mapping = space_.find(effect.from.begin);
  const bool shows_more =
      mapping != nullptr && mapping->backing.has_value() && effect.to.size() > effect.from.size();
  AddressRange to = effect.to;
  if (shows_more) to.end = to.begin + effect.from.size();
  if (to != effect.from) change(trace::RemapChange{effect.from, to, effect.keep_old});
  if (!shows_more) return {};
  RCHK_TRY_ASSIGN(const std::vector<ProcMapsEntry> maps, snapshot::read_proc_maps(tracee_.pid()));
  for (const ProcMapsEntry& entry : maps) {
    if (entry.range.contains(to.end)) return compare_part({to.end, effect.to.end}, &entry);
  }
  return {};
}

// What comes to light of a file is what is in it by now. What is shared loses nothing but by a
// hole.
void Collector::add_discard(const syscalls::DiscardEffect& effect) {
  for (const Mapping& mapping : space_.overlapping(effect.range)) {
    const AddressRange part{std::max(mapping.range.begin, effect.range.begin),
                            std::min(mapping.range.end, effect.range.end)};
    if (mapping.shared && effect.refill == syscalls::Refill::kFresh) continue;
    if (mapping.shared && mapping.backing) {
      add_zeros(part, found_.writes);
      continue;
    }
    change(trace::DiscardChange{part});
    if (mapping.backing && files_.may_be_changed(mapping.backing->file)) add_contents(part);
  }
}

void Collector::add_contents(AddressRange range) {
  constexpr uint64_t kPieceBytes = 1 << 20;
  for (GuestAddress at = range.begin; at < range.end;) {
    Bytes bytes(std::min(kPieceBytes, range.end - at));
    const uint64_t wanted = bytes.size();
    bytes.resize(tracee_.read_memory(at, bytes));
    if (!bytes.empty()) found_.writes.push_back({at, std::move(bytes)});
    at = at + wanted;
  }
}

// One stretch that is the same mapping throughout, before and now.
Result<void> Collector::compare_part(AddressRange part, const ProcMapsEntry* now) {
  const Mapping* before = space_.find(part.begin);
  if (now == nullptr) {
    if (before != nullptr) change(trace::UnmapChange{part});
    return {};
  }
  const uint64_t offset = now->offset_bytes + (part.begin - now->range.begin);
  if (before != nullptr) {
    // The kernel keeps shared memory in a file of its own, which /proc names. Where it is mapped
    // twice it has to be one for the replay too.
    const bool was_file = before->backing.has_value() || !before->name.empty() ||
                          (before->shared && twins_.count({now->device, now->inode}) == 0);
    const bool same_place =
        !before->backing ||
        before->backing->offset_bytes + (part.begin - before->range.begin) == offset;
    if (before->shared == now->shared && same_place && (was_file || now->inode == 0)) {
      if (before->protection != now->protection) {
        change(trace::ProtectChange{part, now->protection});
      }
      return {};
    }
  }
  Mapping mapping;
  mapping.range = part;
  mapping.protection = now->protection;
  mapping.shared = now->shared;
  mapping.name = now->name;
  const bool fresh_stack = now->name == "[stack]";
  if (fresh_stack) {
    mapping.grows_down = true;
    space_.map(std::move(mapping));
    return {};
  }
  if (now->inode != 0) {
    RCHK_TRY_ASSIGN(const auto id, store_mapped_file(part, *now, offset));
    if (id) mapping.backing = snapshot::FileBacking{*id, offset};
    if (id && mapping.shared && mapping.writable()) files_.mark_changeable(*id);
  }
  const bool explained = mapping.backing.has_value();
  change(trace::MapChange{std::move(mapping)});
  if (!explained) add_contents(part);
  return {};
}

// What lies behind `part` of a mapping, `offset_bytes` into it. Nothing if nobody can tell.
Result<std::optional<snapshot::FileId>> Collector::store_mapped_file(AddressRange part,
                                                                     const ProcMapsEntry& now,
                                                                     uint64_t offset_bytes) {
  using Id = std::optional<snapshot::FileId>;
  if (const Result<FileDescriptor> file = open_mapped_file(tracee_.pid(), now)) {
    const Result<snapshot::FileId> id = files_.add(*file, now.name);
    if (!id) return Id();
    RCHK_TRY(files_.add_range(*id, *file, offset_bytes, part.size()));
    return Id(*id);
  }
  if (!now.shared) return Id();
  // Memory without a name in any folder, where the recorder has no privilege.
  const auto known_end = ends_.find({now.device, now.inode});
  const uint64_t size_bytes =
      std::max(offset_bytes + part.size(), known_end == ends_.end() ? 0 : known_end->second);
  RCHK_TRY_ASSIGN(const snapshot::FileId id, files_.add_object(now.device, now.inode, size_bytes));
  const auto read = [&](uint64_t at, std::span<uint8_t> bytes) {
    return static_cast<ssize_t>(tracee_.read_memory(part.begin + (at - offset_bytes), bytes));
  };
  RCHK_TRY(files_.add_range(id, offset_bytes, part.size(), read));
  return Id(id);
}

void Collector::find_twins(const std::vector<ProcMapsEntry>& maps) {
  std::map<Object, std::map<uint64_t, uint64_t>> parts;  // offsets: begin to end
  for (const ProcMapsEntry& entry : maps) {
    if (!entry.shared || entry.inode == 0) continue;
    const Object object{entry.device, entry.inode};
    const uint64_t begin = entry.offset_bytes, end = begin + entry.range.size();
    ends_[object] = std::max(ends_[object], end);
    std::map<uint64_t, uint64_t>& known = parts[object];
    const auto next = known.lower_bound(begin);
    const bool overlaps = (next != known.end() && next->first < end) ||
                          (next != known.begin() && std::prev(next)->second > begin);
    if (overlaps) twins_.insert(object);
    uint64_t& known_end = known[begin];
    known_end = std::max(known_end, end);
  }
}

Result<void> Collector::compare_with_maps(const snapshot::RangeSet& hidden) {
  RCHK_TRY_ASSIGN(std::vector<ProcMapsEntry> maps, snapshot::read_proc_maps(tracee_.pid()));
  std::erase_if(maps, is_kernel_mapping);
  find_twins(maps);
  std::set<GuestAddress> borders;
  for (const ProcMapsEntry& entry : maps) borders.insert({entry.range.begin, entry.range.end});
  for (const auto& [begin, mapping] : space_.mappings()) {
    borders.insert({mapping.range.begin, mapping.range.end});
  }
  for (const AddressRange& range : hidden) borders.insert({range.begin, range.end});
  auto entry = maps.begin();
  for (auto border = borders.begin(); border != borders.end(); ++border) {
    const auto next = std::next(border);
    if (next == borders.end()) break;
    while (entry != maps.end() && entry->range.end <= *border) ++entry;
    const bool mapped = entry != maps.end() && entry->range.contains(*border) &&
                        !snapshot::contains(hidden, *border);
    RCHK_TRY(compare_part({*border, *next}, mapped ? &*entry : nullptr));
  }
  return {};
}

Result<void> Collector::compare_protection() {
  std::vector<AddressRange> ranges;
  for (const trace::AddressSpaceChange& change : found_.changes) {
    if (const auto* map = std::get_if<trace::MapChange>(&change)) {
      ranges.push_back(map->mapping.range);
    } else if (const auto* protect = std::get_if<trace::ProtectChange>(&change)) {
      ranges.push_back(protect->range);
    }
  }
  if (ranges.empty()) return {};
  RCHK_TRY_ASSIGN(const std::vector<ProcMapsEntry> maps, snapshot::read_proc_maps(tracee_.pid()));
  for (const AddressRange& range : ranges) {
    for (const ProcMapsEntry& entry : maps) {
      const AddressRange part{std::max(range.begin, entry.range.begin),
                              std::min(range.end, entry.range.end)};
      if (part.end <= part.begin) continue;
      for (const Mapping& mapping : space_.overlapping(part)) {
        if (mapping.protection == entry.protection) continue;
        change(trace::ProtectChange{
            {std::max(part.begin, mapping.range.begin), std::min(part.end, mapping.range.end)},
            entry.protection});
      }
    }
  }
  return {};
}

uint64_t page_end(uint64_t bytes) { return (bytes + kPageSize - 1) & ~(kPageSize - 1); }

}  // namespace

std::string path_seen_by(pid_t pid, GuestAddress address) {
  std::string path(PATH_MAX, '\0');
  const auto memory = snapshot::MemoryReader::open(pid);
  if (!memory) return {};
  const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(path.data()), path.size()};
  const auto got = memory->read(address, bytes);
  if (!got) return {};
  path.resize(std::min<size_t>(*got, strnlen(path.data(), path.size())));
  return fmt::format("/proc/{}/{}/{}", pid, path.starts_with('/') ? "root" : "cwd", path);
}

void apply_change(const trace::AddressSpaceChange& change, snapshot::AddressSpace& space) {
  if (const auto* map = std::get_if<trace::MapChange>(&change)) {
    space.map(map->mapping);
  } else if (const auto* unmap = std::get_if<trace::UnmapChange>(&change)) {
    space.unmap(unmap->range);
  } else if (const auto* protect = std::get_if<trace::ProtectChange>(&change)) {
    space.protect(protect->range, protect->protection);
  } else if (const auto* remap = std::get_if<trace::RemapChange>(&change)) {
    snapshot::AddressSpace kept;
    if (remap->keep_old) {
      for (const Mapping& mapping : space.overlapping(remap->from)) kept.map(mapping);
      kept.unmap({{0}, remap->from.begin});
      kept.unmap({remap->from.end, {~uint64_t{0}}});
    }
    space.remap(remap->from, remap->to.begin, remap->to.size());
    for (const auto& [begin, mapping] : kept.mappings()) space.map(mapping);
  }
}

Result<AddressChanges> recorded_changes(const syscalls::AddressSpaceEffects& effects,
                                        const tracee::Tracee& tracee, FileStore& files,
                                        snapshot::AddressSpace& space,
                                        const snapshot::RangeSet& hidden, const Note& note) {
  Collector collector(tracee, files, space, note);
  for (const syscalls::AddressSpaceEffect& effect : effects.effects) {
    RCHK_TRY(collector.add(effect));
  }
  if (effects.reread_maps) RCHK_TRY(collector.compare_with_maps(hidden));
  if (effects.reread_protection) RCHK_TRY(collector.compare_protection());
  for (const AddressRange& range : effects.doubtful_contents) collector.add_contents(range);
  return collector.take();
}

std::optional<uint64_t> offset_written(const syscalls::Call& call, int64_t result, pid_t pid) {
  namespace nr = syscalls::nr;
  if (call.number == nr::pwrite64 || call.number == nr::pwritev) return call.arguments[3];
  if (call.number != nr::write && call.number != nr::writev) return std::nullopt;
  const auto info = read_proc_file(pid, fmt::format("fdinfo/{}", call.descriptor(0)));
  if (!info) return std::nullopt;
  const std::string text(info->begin(), info->end());
  if (text.rfind("pos:", 0) != 0) return std::nullopt;
  const uint64_t position = std::strtoull(text.c_str() + 4, nullptr, 10);
  const auto written = static_cast<uint64_t>(result);
  return position >= written ? std::optional(position - written) : std::nullopt;
}

std::optional<std::string> changed_file(const syscalls::Call& call, int64_t result, pid_t writer) {
  const std::optional<int32_t> descriptor = syscalls::changed_file(call, result);
  if (descriptor) return fmt::format("/proc/{}/fd/{}", writer, *descriptor);
  const std::optional<GuestAddress> path = syscalls::changed_path(call, result);
  return path ? std::optional(path_seen_by(writer, *path)) : std::nullopt;
}

bool changes_stored_file(const syscalls::Call& call, int64_t result, pid_t writer,
                         const FileStore& files) {
  const std::optional<std::string> link = changed_file(call, result, writer);
  struct stat status;
  return link && stat(link->c_str(), &status) == 0 && files.has(status.st_dev, status.st_ino);
}

Result<void> add_file_changes(const syscalls::Call& call, int64_t result, pid_t writer,
                              const tracee::Tracee& tracee, FileStore& files,
                              snapshot::AddressSpace& space, AddressChanges& found) {
  const bool resizes = syscalls::only_resizes(call);
  if (!resizes && !space.has_shared() && !files.any_may_be_written()) return {};
  const std::optional<std::string> link = changed_file(call, result, writer);
  struct stat status;
  if (!link || stat(link->c_str(), &status) != 0) return {};
  if (!files.has(status.st_dev, status.st_ino)) return {};
  std::vector<Mapping> mapped;
  for (const auto& [begin, mapping] : space.mappings()) {
    if (!mapping.backing) continue;
    // A private one follows the file's size, and what it holds where nothing was written.
    const bool follows = mapping.shared || resizes || files.may_be_written(mapping.backing->file);
    if (!follows) continue;
    const FileStore::Version& version = files.version(mapping.backing->file);
    const bool is_same = version.device == status.st_dev && version.inode == status.st_ino;
    if (is_same) mapped.push_back(mapping);
  }
  if (mapped.empty()) return {};
  const std::optional<uint64_t> offset_bytes = offset_written(call, result, writer);
  const auto size_bytes = static_cast<uint64_t>(status.st_size);
  for (Mapping& mapping : mapped) {
    const uint64_t first = mapping.backing->offset_bytes;
    const uint64_t known_bytes = files.version(mapping.backing->file).size_bytes;
    // Of a private one that lies inside of the file, before and now, no page comes or goes.
    const bool inside =
        !mapping.shared && first + mapping.range.size() <= std::min(known_bytes, size_bytes);
    const bool same_pages = inside || known_bytes == size_bytes;
    if ((offset_bytes || resizes) && same_pages) {
      // To the same size: the rest of the last page may have become zero.
      const uint64_t changed = resizes ? size_bytes : *offset_bytes;
      const uint64_t bytes_changed =
          resizes ? page_end(size_bytes) - size_bytes : static_cast<uint64_t>(result);
      const uint64_t begin = std::max(first, changed);
      const uint64_t end = std::min(first + mapping.range.size(), changed + bytes_changed);
      if (begin >= end) continue;
      Bytes bytes(end - begin);
      const GuestAddress at = mapping.range.begin + (begin - first);
      bytes.resize(tracee.read_memory(at, bytes));
      if (!bytes.empty()) found.writes.push_back({at, std::move(bytes)});
      continue;
    }
    // Its size is what decides where the mapping faults: mapped anew, as it is now.
    RCHK_TRY_ASSIGN(const FileDescriptor file, open_guest_file(*link));
    files.mark_changeable(mapping.backing->file);
    RCHK_TRY_ASSIGN(mapping.backing->file, files.add(file, mapping.name));
    RCHK_TRY(files.add_range(mapping.backing->file, file, first, mapping.range.size()));
    files.mark_changeable(mapping.backing->file);
    space.map(mapping);
    if (!mapping.shared) {
      RCHK_TRY_ASSIGN(auto pages, own_pages(tracee, {mapping}));
      for (trace::PageContents& run : pages) {
        found.writes.push_back({run.address, std::move(run.bytes)});
      }
    }
    found.changes.push_back(trace::MapChange{std::move(mapping)});
  }
  return {};
}

std::vector<FileHole> holes_made(const syscalls::Call& call, int64_t result,
                                 const snapshot::AddressSpace& space) {
  std::vector<FileHole> holes;
  if (call.number != syscalls::nr::madvise || call.arguments[2] != MADV_REMOVE) return holes;
  for (const auto& effect : syscalls::address_space_effects(call, result, {}).effects) {
    const auto* discard = std::get_if<syscalls::DiscardEffect>(&effect);
    if (discard == nullptr) continue;
    for (const Mapping& mapping : space.overlapping(discard->range)) {
      if (!mapping.shared || !mapping.backing) continue;
      const GuestAddress begin = std::max(mapping.range.begin, discard->range.begin);
      const GuestAddress end = std::min(mapping.range.end, discard->range.end);
      const uint64_t offset = mapping.backing->offset_bytes + (begin - mapping.range.begin);
      holes.push_back({mapping.backing->file, offset, end - begin});
    }
  }
  return holes;
}

// The kernel has taken the file's pages out of the page tables; what is there yet is the process's
// own. Reading the others would fill the hole again.
Result<void> add_holes(const std::vector<FileHole>& holes, const tracee::Tracee& tracee,
                       const FileStore& files, const snapshot::AddressSpace& space,
                       AddressChanges& found) {
  for (const FileHole& hole : holes) {
    for (const auto& [begin, mapping] : space.mappings()) {
      if (mapping.shared || !mapping.backing) continue;
      if (!files.are_of_one_file(mapping.backing->file, hole.file)) continue;
      const uint64_t first = mapping.backing->offset_bytes;
      const uint64_t from = std::max(first, hole.offset_bytes);
      const uint64_t to =
          std::min(first + mapping.range.size(), hole.offset_bytes + hole.size_bytes);
      if (from >= to) continue;
      Mapping part = mapping;
      part.range = range_of(mapping.range.begin + (from - first), to - from);
      RCHK_TRY_ASSIGN(const auto own, own_pages(tracee, {part}));
      add_zeros(part.range, found.writes);
      for (const trace::PageContents& run : own) found.writes.push_back({run.address, run.bytes});
    }
  }
  return {};
}

Result<AddressChanges> changes_by_fork(const tracee::Tracee& child, FileStore& files,
                                       snapshot::AddressSpace& space, const Note& note) {
  Collector collector(child, files, space, note);
  RCHK_TRY(collector.compare_with_maps({}));
  AddressChanges found = collector.take();
  const auto contents = read_proc_file(child.pid(), "smaps");
  if (!contents) return fail_errno("the mappings of a child");
  std::istringstream lines(std::string(contents->begin(), contents->end()));
  AddressRange range;
  for (std::string line; std::getline(lines, line);) {
    uint64_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " ", &begin, &end) == 2) {
      range = {{begin}, {end}};
    } else if (line.rfind("VmFlags:", 0) == 0 && (line + ' ').find(" wf ") != std::string::npos) {
      found.changes.emplace_back(trace::DiscardChange{range});
    }
  }
  return found;
}

Result<void> grow_stacks(pid_t pid, snapshot::AddressSpace& space) {
  RCHK_TRY_ASSIGN(const std::vector<ProcMapsEntry> maps, snapshot::read_proc_maps(pid));
  std::vector<Mapping> grown;
  for (const auto& [begin, mapping] : space.mappings()) {
    if (!mapping.grows_down) continue;
    for (const ProcMapsEntry& entry : maps) {
      if (!entry.range.contains(mapping.range.begin) || entry.range.begin >= begin) continue;
      Mapping added = mapping;
      added.range = {entry.range.begin, mapping.range.end};
      // What lies below and was mapped for another reason is no growth.
      if (space.overlapping({entry.range.begin, begin}).empty()) grown.push_back(std::move(added));
    }
  }
  for (Mapping& mapping : grown) space.map(std::move(mapping));
  return {};
}

void note_changes(const std::vector<trace::AddressSpaceChange>& changes,
                  snapshot::DirtyTracker& tracker) {
  for (const trace::AddressSpaceChange& change : changes) {
    if (const auto* map = std::get_if<trace::MapChange>(&change)) {
      tracker.contents_changed(map->mapping.range);
    } else if (const auto* moved = std::get_if<trace::RemapChange>(&change)) {
      tracker.contents_changed(moved->to);
      if (moved->keep_old) tracker.contents_changed(moved->from);
    } else if (const auto* discard = std::get_if<trace::DiscardChange>(&change)) {
      tracker.contents_changed(discard->range);
    }
  }
}

}  // namespace rchk::record
