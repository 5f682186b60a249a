// Shared mappings of files. In the recording all views of a file were one memory. In a puppet they
// are views of one memfd of rchk's, an *object*, as soon as one of them may be written:
//
//   guest   [view one of F, rw] [view two of F, r-x]      fork of the puppet: the same with
//                     \\           /                        a copy of the object
//   rchk           object of F (memfd)
//
// Files that are only read stay private mappings of the content store, which forks share.

#include <algorithm>
#include <set>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/replay/puppet.h"

namespace rchk::replay {

namespace {

constexpr uint64_t kCopyBytes = 1 << 20;

Result<void> write_at(const FileDescriptor& file, uint64_t offset, std::span<const uint8_t> bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t put = pwrite(file.get(), bytes.data() + done, bytes.size() - done,
                               static_cast<off_t>(offset + done));
    if (put <= 0) return fail_errno("writing shared memory");
    done += static_cast<size_t>(put);
  }
  return {};
}

Result<void> copy(int from, uint64_t from_offset, const FileDescriptor& to, uint64_t to_offset,
                  uint64_t size_bytes) {
  Bytes buffer;
  for (uint64_t done = 0; done < size_bytes;) {
    buffer.resize(std::min(kCopyBytes, size_bytes - done));
    const ssize_t got =
        pread(from, buffer.data(), buffer.size(), static_cast<off_t>(from_offset + done));
    if (got < 0) return fail_errno("copying shared memory");
    if (got == 0) break;
    buffer.resize(static_cast<size_t>(got));
    RCHK_TRY(write_at(to, to_offset + done, buffer));
    done += buffer.size();
  }
  return {};
}

Result<FileDescriptor> new_object() {
  FileDescriptor object(memfd_create("rchk-shared", MFD_CLOEXEC));
  if (!object.is_open()) return fail_errno("memfd_create");
  return object;
}

}  // namespace

bool Puppet::is_object(const snapshot::Mapping& mapping) const {
  if (!mapping.shared || !mapping.backing) return false;
  const auto file = shared_files_.find(mapping.backing->file);
  return file != shared_files_.end() && objects_.count(file->second) != 0;
}

Result<void> Puppet::map_object(const snapshot::Mapping& mapping) {
  const FileDescriptor& object = *objects_.at(shared_files_.at(mapping.backing->file));
  RCHK_TRY_ASSIGN(const int fd, open_here(object.get()));
  RCHK_TRY(call("mapping shared memory", SYS_mmap,
                {mapping.range.begin.value, mapping.range.size(), mapping.protection,
                 MAP_SHARED | MAP_FIXED | MAP_NORESERVE, static_cast<uint64_t>(fd),
                 mapping.backing->offset_bytes}));
  RCHK_TRY(call("close", SYS_close, {static_cast<uint64_t>(fd)}));
  return {};
}

Result<void> Puppet::stop_sharing(const Read& read_original, const trace::EventSource& log) {
  // Files that nothing writes to here are left alone where copies of them would be dear.
  constexpr uint64_t kMostCopiedBytes = 4 << 20;
  std::set<SharedFile> written;
  std::vector<snapshot::Mapping> shared;
  for (const auto& [begin, mapping] : space_.mappings()) {
    if (!mapping.shared) continue;
    shared.push_back(mapping);
    if (!mapping.backing) continue;
    RCHK_TRY_ASSIGN(const trace::FileInfo info, log.file_info(mapping.backing->file));
    const SharedFile file{info.device, info.inode};
    shared_files_[mapping.backing->file] = file;
    if (mapping.writable()) written.insert(file);
  }
  for (const SharedFile& file : written) RCHK_TRY(make_object(file, read_original));
  for (const snapshot::Mapping& mapping : shared) {
    if (is_object(mapping)) continue;
    if (mapping.backing && mapping.range.size() > kMostCopiedBytes) continue;
    RCHK_TRY(map_private_copy(mapping, read_original));
  }
  return {};
}

Result<void> Puppet::map_private_copy(const snapshot::Mapping& mapping, const Read& read) {
  const AddressRange range = mapping.range;
  RCHK_TRY(call("copying shared memory", SYS_mmap,
                {range.begin.value, range.size(), mapping.protection,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, ~0ull, 0}));
  Bytes buffer;
  for (uint64_t done = 0; done < range.size(); done += kCopyBytes) {
    buffer.resize(std::min(kCopyBytes, range.size() - done));
    buffer.resize(read(range.begin + done, buffer));
    // Pages of zeros stay untouched.
    for (size_t at = 0; at < buffer.size(); at += kPageSize) {
      const auto page =
          std::span(buffer).subspan(at).first(std::min(kPageSize, buffer.size() - at));
      if (std::all_of(page.begin(), page.end(), [](uint8_t byte) { return byte == 0; })) continue;
      RCHK_TRY(process_.write_memory(range.begin + done + at, page));
    }
  }
  return {};
}

Result<void> Puppet::make_object(SharedFile file, const Read& read) {
  if (objects_.count(file) != 0) return {};
  if (common_ != nullptr) {
    // Whoever maps a file of the others' has no view of it yet: all are views of objects.
    if (auto object = common_->objects[file].lock()) {
      objects_.emplace(file, std::move(object));
      return {};
    }
  }
  RCHK_TRY_ASSIGN(FileDescriptor object, new_object());
  std::vector<snapshot::Mapping> views;
  uint64_t size_bytes = 0;
  for (const auto& [begin, mapping] : space_.mappings()) {
    if (!mapping.shared || !mapping.backing) continue;
    const auto known = shared_files_.find(mapping.backing->file);
    if (known == shared_files_.end() || known->second != file) continue;
    views.push_back(mapping);
    size_bytes = std::max(size_bytes, mapping.backing->offset_bytes + mapping.range.size());
  }
  if (ftruncate(object.get(), static_cast<off_t>(size_bytes)) != 0) {
    return fail_errno("making shared memory");
  }
  for (const snapshot::Mapping& view : views) {
    Bytes buffer;
    for (uint64_t done = 0; done < view.range.size(); done += kCopyBytes) {
      buffer.resize(std::min(kCopyBytes, view.range.size() - done));
      buffer.resize(read(view.range.begin + done, buffer));
      RCHK_TRY(write_at(object, view.backing->offset_bytes + done, buffer));
    }
  }
  const auto kept = std::make_shared<const FileDescriptor>(std::move(object));
  if (common_ != nullptr) common_->objects[file] = kept;
  objects_.emplace(file, kept);
  for (const snapshot::Mapping& view : views) {
    RCHK_TRY(map_object(view));
    touch_code(view.range);
  }
  return {};
}

Result<void> Puppet::map_shared_file(const snapshot::Mapping& mapping, const Contents& contents) {
  RCHK_TRY(make_object(contents.file));
  const FileDescriptor& object = *objects_.at(contents.file);
  if (ftruncate(object.get(), static_cast<off_t>(contents.file_size_bytes)) != 0) {
    return fail_errno("resizing shared memory");
  }
  RCHK_TRY(copy(contents.fd, contents.offset_bytes, object, mapping.backing->offset_bytes,
                contents.available_bytes));
  return map_object(mapping);
}

std::vector<GuestAddress> Puppet::views_of(GuestAddress page) const {
  std::vector<GuestAddress> views;
  if (objects_.empty()) return views;
  const snapshot::Mapping* here = space_.find(page);
  if (here == nullptr || !is_object(*here)) return views;
  const SharedFile file = shared_files_.at(here->backing->file);
  const uint64_t offset = here->backing->offset_bytes + (page.page_floor() - here->range.begin);
  for (const auto& [begin, mapping] : space_.mappings()) {
    if (!is_object(mapping) || shared_files_.at(mapping.backing->file) != file) continue;
    const uint64_t first = mapping.backing->offset_bytes;
    if (offset < first || offset - first >= mapping.range.size()) continue;
    views.push_back(mapping.range.begin + (offset - first));
  }
  return views;
}

// Through the object: a process's memory file does not write to shared mappings that the process
// itself may not write (mm/gup.c, check_vma_flags).
Result<void> Puppet::write_shared(GuestAddress address, std::span<const uint8_t> bytes) {
  const snapshot::Mapping* mapping = space_.find(address);
  if (mapping == nullptr || !is_object(*mapping)) return process_.write_memory(address, bytes);
  for (const GuestAddress view : views_of(address))
    touch_code(range_of(view, kPageSize), Touched::kContents);
  const FileDescriptor& object = *objects_.at(shared_files_.at(mapping->backing->file));
  const uint64_t offset = mapping->backing->offset_bytes + (address - mapping->range.begin);
  return write_at(object, offset, bytes);
}

GuestAddress Puppet::protected_view(GuestAddress fault) const {
  const snapshot::Mapping* mapping = objects_.empty() ? nullptr : space_.find(fault);
  if (mapping == nullptr || !mapping->writable()) return fault;
  for (const GuestAddress view : views_of(fault)) {
    if (translation_.protected_pages.count(view) == 0) continue;
    return view + (fault - fault.page_floor());
  }
  return fault;
}

Result<void> Puppet::copy_objects_to(Puppet& child) {
  child.shared_files_ = shared_files_;
  for (const auto& [file, object] : objects_) {
    RCHK_TRY_ASSIGN(FileDescriptor own, new_object());
    const off_t size_bytes = lseek(object->get(), 0, SEEK_END);
    if (size_bytes < 0 || ftruncate(own.get(), size_bytes) != 0) {
      return fail_errno("copying shared memory");
    }
    RCHK_TRY(copy(object->get(), 0, own, 0, static_cast<uint64_t>(size_bytes)));
    child.objects_.emplace(file, std::make_shared<const FileDescriptor>(std::move(own)));
  }
  if (common_ != nullptr) {
    for (const auto& [begin, mapping] : space_.mappings()) {
      if (!mapping.shared || mapping.backing) continue;
      RCHK_TRY(child.map_private_copy(mapping, [this](GuestAddress at, std::span<uint8_t> bytes) {
        return process_.read_memory(at, bytes);
      }));
    }
  }
  if (objects_.empty()) return {};
  for (const auto& [begin, mapping] : space_.mappings()) {
    if (!is_object(mapping)) continue;
    RCHK_TRY(child.map_object(mapping));
    // The engine's own protection went with the old mapping.
    auto& pages = child.translation_.protected_pages;
    pages.erase(pages.lower_bound(mapping.range.begin), pages.lower_bound(mapping.range.end));
  }
  return {};
}

}  // namespace rchk::replay
