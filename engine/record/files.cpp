#include "engine/record/files.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include <fcntl.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "engine/record/process.h"

namespace rchk::record {

namespace {

constexpr uint64_t kChunkBytes = 1 << 20;

bool is_file(const FileDescriptor& file, const snapshot::ProcMapsEntry& entry) {
  struct stat status;
  return fstat(file.get(), &status) == 0 && status.st_ino == entry.inode;
}

// A descriptor of the process's own that is of the file, by its number.
std::optional<int> descriptor_of(pid_t pid, const snapshot::ProcMapsEntry& entry) {
  std::error_code error;
  const std::filesystem::directory_iterator all(fmt::format("/proc/{}/fd", pid), error);
  if (error) return std::nullopt;
  for (const auto& link : all) {
    const std::string number = link.path().filename();
    if (read_proc_link(pid, "fd/" + number) == entry.name) return std::atoi(number.c_str());
  }
  return std::nullopt;
}

}  // namespace

Result<FileDescriptor> open_mapped_file(pid_t pid, const snapshot::ProcMapsEntry& entry) {
  const std::string paths[] = {
      fmt::format("/proc/{}/map_files/{:x}-{:x}", pid, entry.range.begin.value,
                  entry.range.end.value),
      fmt::format("/proc/{}/root{}", pid, entry.name),
  };
  for (const std::string& path : paths) {
    FileDescriptor file(open_descriptor(path.c_str(), O_RDONLY | O_NONBLOCK));
    if (file.is_open() && is_file(file, entry)) return file;
  }
  if (const std::optional<int> number = descriptor_of(pid, entry)) {
    Result<FileDescriptor> file = open_guest_file(pid, *number);
    if (file && is_file(*file, entry)) return file;
  }
  return fail_errno(fmt::format("the mapped file {} cannot be read", entry.name), ENOENT);
}

Result<FileDescriptor> open_guest_file(pid_t pid, int fd) {
  return open_guest_file(fmt::format("/proc/{}/fd/{}", pid, fd));
}

Result<FileDescriptor> open_guest_file(const std::string& path) {
  FileDescriptor file(open_descriptor(path.c_str(), O_RDONLY | O_NONBLOCK));
  if (!file.is_open()) return fail_errno(path);
  return file;
}

int64_t modified_ns(const struct stat& status) {
  return status.st_mtim.tv_sec * 1'000'000'000ll + status.st_mtim.tv_nsec;
}

Result<snapshot::FileId> FileStore::add(const FileDescriptor& file, const std::string& path) {
  struct stat status;
  if (fstat(file.get(), &status) != 0) return fail_errno(path);
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorKind::kUnsupported, fmt::format("{} is not a regular file", path));
  }
  trace::FileInfo info;
  info.path = path;
  info.device = status.st_dev;
  info.inode = status.st_ino;
  info.mtime_ns = modified_ns(status);
  info.size_bytes = static_cast<uint64_t>(status.st_size);
  return add(info);
}

Result<snapshot::FileId> FileStore::add_object(uint64_t device, uint64_t inode,
                                               uint64_t size_bytes) {
  trace::FileInfo info;
  info.path = trace::kSharedMemoryName;
  info.device = device;
  info.inode = inode;
  info.size_bytes = size_bytes;
  for (const auto& [id, version] : versions_) {
    if (version.device != device || version.inode != inode) continue;
    info.size_bytes = std::max(info.size_bytes, version.size_bytes);
  }
  return add(info);
}

void FileStore::keep_only(const std::set<snapshot::FileId>& kept) {
  const auto goes = [&kept](snapshot::FileId id) { return kept.count(id) == 0; };
  std::erase_if(ids_, [&](const auto& item) { return goes(item.second); });
  std::erase_if(versions_, [&](const auto& item) { return goes(item.first); });
  std::erase_if(stored_, [&](const auto& item) { return goes(item.first); });
  std::erase_if(writable_, goes);
  inodes_.clear();
  for (const auto& [id, version] : versions_) inodes_.insert(inode_of(id));
  const auto has_gone = [this](const Inode& inode) { return inodes_.count(inode) == 0; };
  std::erase_if(changeable_, has_gone);
  std::erase_if(viewed_privately_, has_gone);
}

void FileStore::note_opened_for_writing(uint64_t device, uint64_t inode) {
  if (!opened_for_writing_.insert({device, inode}).second) return;
  for (const auto& [id, version] : versions_) {
    if (version.device == device && version.inode == inode) writable_.insert(id);
  }
}

FileStore::Inode FileStore::inode_of(snapshot::FileId id) const {
  const auto found = versions_.find(id);
  return found == versions_.end() ? Inode() : Inode(found->second.device, found->second.inode);
}

Result<snapshot::FileId> FileStore::add(const trace::FileInfo& info) {
  const Key key{info.device, info.inode, info.mtime_ns, info.size_bytes};
  const auto known = ids_.find(key);
  const bool changes = changeable_.count({info.device, info.inode}) != 0;
  if (known != ids_.end() && !changes) return known->second;
  RCHK_TRY_ASSIGN(const snapshot::FileId id, sink_.add_file(info));
  ids_[key] = id;
  versions_[id] = {info.device, info.inode, info.size_bytes, info.mtime_ns};
  inodes_.insert({info.device, info.inode});
  if (opened_for_writing_.count({info.device, info.inode}) != 0) writable_.insert(id);
  return id;
}

Result<void> FileStore::add_range(snapshot::FileId id, const FileDescriptor& file,
                                  uint64_t offset_bytes, uint64_t size_bytes) {
  return add_range(id, offset_bytes, size_bytes, [&file](uint64_t at, std::span<uint8_t> bytes) {
    return pread(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
  });
}

Result<void> FileStore::add_range(snapshot::FileId id, uint64_t offset_bytes, uint64_t size_bytes,
                                  const ReadFile& read) {
  std::map<uint64_t, uint64_t>& stored = stored_[id];
  uint64_t at = offset_bytes;
  const uint64_t end = offset_bytes + size_bytes;
  Bytes buffer;
  while (at < end) {
    // Pass over what is there already.
    auto next = stored.upper_bound(at);
    if (next != stored.begin() && std::prev(next)->second > at) {
      at = std::prev(next)->second;
      continue;
    }
    uint64_t stop = std::min(end, at + kChunkBytes);
    if (next != stored.end()) stop = std::min(stop, next->first);
    buffer.resize(stop - at);
    const ssize_t got = read(at, buffer);
    if (got < 0) return fail_errno("reading a mapped file");
    if (got == 0) break;
    buffer.resize(static_cast<size_t>(got));
    RCHK_TRY(sink_.add_file_range(id, at, buffer));
    uint64_t begin = at;
    at += static_cast<uint64_t>(got);
    if (next != stored.begin() && std::prev(next)->second == begin) {
      begin = std::prev(next)->first;
    }
    stored[begin] = at;
  }
  return {};
}

}  // namespace rchk::record
