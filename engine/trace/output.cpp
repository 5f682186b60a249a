#include "engine/trace/output.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/file_io.h"
#include "engine/trace/codec.h"

namespace rchk::trace {
namespace {

constexpr uint64_t kFirstChunk = kFrontBytes + sizeof(FileHeader);
// File systems share blocks of this size.
constexpr uint64_t kBlockBytes = 4096;
constexpr uint64_t kCopyBytes = 1 << 20;

template <typename T>
ByteView view_of(const T& item) {
  return {reinterpret_cast<const uint8_t*>(&item), sizeof item};
}

// By the kernel, where it can.
Result<void> copy_range(const FileDescriptor& from, uint64_t from_offset, const FileDescriptor& to,
                        uint64_t to_offset, uint64_t size_bytes, const std::string& path) {
  Bytes buffer;
  bool in_kernel = true;
  while (size_bytes != 0) {
    ssize_t done = -1;
    if (in_kernel) {
      auto in = static_cast<off64_t>(from_offset);
      auto out = static_cast<off64_t>(to_offset);
      done = copy_file_range(from.get(), &in, to.get(), &out, size_bytes, 0);
      in_kernel = done > 0 || (done < 0 && errno == EINTR);
      if (done <= 0) continue;
    } else {
      buffer.resize(std::min(kCopyBytes, size_bytes));
      const ssize_t got =
          pread(from.get(), buffer.data(), buffer.size(), static_cast<off_t>(from_offset));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return fail_errno(fmt::format("copying to {}", path), got == 0 ? EIO : errno);
      done =
          pwrite(to.get(), buffer.data(), static_cast<size_t>(got), static_cast<off_t>(to_offset));
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) return fail_errno(fmt::format("writing {}", path));
    }
    from_offset += static_cast<uint64_t>(done);
    to_offset += static_cast<uint64_t>(done);
    size_bytes -= static_cast<uint64_t>(done);
  }
  return {};
}

}  // namespace

Result<void> Output::begin() {
  FileHeader header;
  std::memcpy(header.magic, FileHeader::kMagic, sizeof header.magic);
  header.major_version = kMajorVersion;
  header.minor_version = kMinorVersion;
  header.recording_id = id_;
  header.xxh3 = header_checksum(header);
  RCHK_TRY(write({reinterpret_cast<const uint8_t*>(kFrontText.data()), kFrontText.size()}));
  offset_ = kFrontBytes;
  RCHK_TRY(write(view_of(header)));
  kept_from_ = offset_;
  return {};
}

void Output::go_on_behind(const Container& closed) {
  for (const IndexEntry& entry : closed.chunks()) {
    if (entry.chunk_type() == ChunkType::kDropped) {
      dropped_ = entry;
    } else {
      index_.push_back(entry);
    }
  }
  index_.insert(index_.end(), closed.tail().begin(), closed.tail().end());
  offset_ = index_.back().end_offset();
}

Result<IndexEntry> Output::chunk(ChunkHeader header, ByteView raw, Encoding encoding) {
  const uint64_t offset = offset_;
  RCHK_TRY(write(encoder_.encode(header, raw, encoding)));
  index_.push_back(IndexEntry::of(header, offset));
  return index_.back();
}

Result<Bytes> Output::read(const IndexEntry& entry) {
  ChunkHeader header;
  RCHK_TRY(read_exactly(entry.offset, &header, sizeof header));
  Buffer stored(entry.stored_bytes);
  RCHK_TRY(read_exactly(entry.offset + sizeof header, stored.data(), stored.size()));
  if (IndexEntry::of(header, entry.offset) != entry ||
      payload_checksum(stored.view()) != header.payload_xxh3) {
    return fail(ErrorKind::kSystem,
                fmt::format("{}, offset {}: is not what was written there", path_, entry.offset));
  }
  RCHK_TRY_ASSIGN(const Buffer raw, decoder_.decode(header, std::move(stored)));
  return Bytes(raw.view().begin(), raw.view().end());
}

Result<IndexEntry> Output::repeat(const IndexEntry& entry) {
  Bytes bytes(sizeof(ChunkHeader) + entry.stored_bytes);
  RCHK_TRY(read_exactly(entry.offset, bytes.data(), bytes.size()));
  IndexEntry again = entry;
  again.offset = offset_;
  RCHK_TRY(write(bytes));
  index_.push_back(again);
  return again;
}

Result<void> Output::end(const EndNotes& notes) {
  ChunkHeader tasks;
  tasks.type = static_cast<uint16_t>(ChunkType::kTaskCount);
  RCHK_TRY(chunk(tasks, encode_task_count(notes.count)));
  if (!notes.processes.empty()) {
    ChunkHeader processes;
    processes.type = static_cast<uint16_t>(ChunkType::kProcesses);
    RCHK_TRY(chunk(processes, notes.processes));
  }
  return end();
}

Result<void> Output::end() {
  std::vector<IndexEntry> entries;
  if (dropped_) entries.push_back(*dropped_);
  entries.insert(entries.end(), index_.begin(), index_.end());
  const uint64_t index_offset = offset_;
  ChunkHeader index;
  index.type = static_cast<uint16_t>(ChunkType::kIndex);
  RCHK_TRY(chunk(index, encode_index(entries)));
  ChunkHeader trailer;
  trailer.type = static_cast<uint16_t>(ChunkType::kEnd);
  trailer.key = index_offset;
  RCHK_TRY(chunk(trailer, {}, Encoding::kStored));
  return {};
}

// The header of the chunk that is a hole: from the first chunk's place to `until`. 64 bytes that
// lie within one page, so that whoever dies leaves the old ones or the new ones.
Result<void> Output::write_dropped(uint64_t until) {
  ChunkHeader header;
  header.type = static_cast<uint16_t>(ChunkType::kDropped);
  header.stored_bytes = header.raw_bytes = until - kFirstChunk - sizeof header;
  header.recording_id = id_;
  header.header_xxh3 = header_checksum(header);
  RCHK_TRY(write_at(kFirstChunk, view_of(header)));
  dropped_ = IndexEntry::of(header, kFirstChunk);
  kept_from_ = until;
  return {};
}

Result<void> Output::drop_before(uint64_t offset) {
  if (offset <= kept_from_) return {};
  // A machine that crashes is to find what the header refers to, and no hole in front of it that it
  // does not know of.
  if (fdatasync(file_.get()) != 0) return fail_errno(fmt::format("writing {}", path_));
  const uint64_t from = kept_from_;
  RCHK_TRY(write_dropped(offset));
  if (fdatasync(file_.get()) != 0) return fail_errno(fmt::format("writing {}", path_));
  while (!index_.empty() && index_.front().offset < offset) index_.pop_front();
  // From the block on that is free from now on.
  const uint64_t first = std::max(from / kBlockBytes * kBlockBytes, kFrontBytes + kBlockBytes);
  if (first >= offset) return {};
  if (fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(first),
                static_cast<off_t>(offset - first)) != 0) {
    return fail_errno(fmt::format("freeing a part of {}", path_));
  }
  return {};
}

Result<void> Output::check_that_it_can_drop() {
  if (fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kBlockBytes,
                kBlockBytes) == 0) {
    return {};
  }
  return Failure(Error{ErrorKind::kUnsupported, errno,
                       fmt::format("{}: its file system cannot free a part of a file, which --keep "
                                   "needs (name a file on another one with -o)",
                                   path_)});
}

Result<void> Output::save(const std::string& path, const EndNotes& notes) {
  FileDescriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.is_open()) return Failure(Error{ErrorKind::kMisuse, errno, path});
  Output saved(std::move(file), path, id_);
  const auto made = [&]() -> Result<void> {
    RCHK_TRY(saved.begin());
    RCHK_TRY(saved.copy(*this));
    return saved.end(notes);
  };
  Result<void> done = made();
  if (!done) unlink(path.c_str());
  return done;
}

Result<void> Output::copy(const Output& from) {
  if (from.dropped_) {
    uint64_t start = offset_ + sizeof(ChunkHeader);
    start += (from.kept_from_ - start) % kBlockBytes;
    RCHK_TRY(write_dropped(start));
    offset_ = start;
  }
  uint64_t here = offset_, there = from.kept_from_;
  for (IndexEntry entry : from.index_) {
    entry.offset = entry.offset - there + here;
    index_.push_back(entry);
  }
  // Whole blocks are shared with the other file, where the file system can.
  const uint64_t end = from.offset_;
  const uint64_t first = std::min(end, (there + kBlockBytes - 1) / kBlockBytes * kBlockBytes);
  const uint64_t last = std::max(first, end / kBlockBytes * kBlockBytes);
  const uint64_t shift = here - there;  // modulo 2^64
  RCHK_TRY(copy_range(from.file_, there, file_, here, first - there, path_));
  file_clone_range range{};
  range.src_fd = from.file_.get();
  range.src_offset = first;
  range.src_length = last - first;
  range.dest_offset = first + shift;
  if (last > first && ioctl(file_.get(), FICLONERANGE, &range) != 0) {
    RCHK_TRY(copy_range(from.file_, first, file_, first + shift, last - first, path_));
  }
  RCHK_TRY(copy_range(from.file_, last, file_, last + shift, end - last, path_));
  offset_ = end + shift;
  return {};
}

Result<void> Output::write(ByteView bytes) {
  RCHK_TRY(write_at(offset_, bytes));
  offset_ += bytes.size();
  return {};
}

Result<void> Output::write_at(uint64_t offset, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t count =
        pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0) {
      if (errno == EINTR) continue;
      return fail_errno(fmt::format("writing {}", path_));
    }
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

Result<void> Output::read_exactly(uint64_t offset, void* out, uint64_t size_bytes) const {
  const size_t got = read_at(file_.get(), offset, {static_cast<uint8_t*>(out), size_bytes});
  if (got == size_bytes) return {};
  return fail_errno(fmt::format("reading {} back", path_), errno == 0 ? EIO : errno);
}

}  // namespace rchk::trace
