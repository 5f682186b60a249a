#include "engine/trace/annotate.h"

#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine/trace/container.h"
#include "engine/trace/index.h"

namespace rchk::trace {

namespace {

// Encodes chunks that are to stand behind one another.
class Tail {
 public:
  Tail(uint64_t recording_id, uint64_t offset) : encoder_(recording_id), offset_(offset) {}
  uint64_t end_offset() const { return offset_ + bytes_.size(); }
  const Bytes& bytes() const { return bytes_; }

  IndexEntry add(ChunkHeader header, ByteView raw, Encoding encoding) {
    const uint64_t at = end_offset();
    const ByteView chunk = encoder_.encode(header, raw, encoding);
    bytes_.insert(bytes_.end(), chunk.begin(), chunk.end());
    return IndexEntry::of(header, at);
  }

 private:
  ChunkEncoder encoder_;
  uint64_t offset_;
  Bytes bytes_;
};

ChunkHeader header_of(ChunkType type, uint64_t key) {
  ChunkHeader header;
  header.type = static_cast<uint16_t>(type);
  header.key = key;
  return header;
}

}  // namespace

Result<void> append_chunk(const std::string& path, ChunkHeader header, ByteView raw) {
  const FileDescriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!file.is_open()) return fail_errno(path);
  while (flock(file.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno(fmt::format("locking {}", path));
  }
  FileDescriptor again(fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  if (!again.is_open()) return fail_errno(path);
  RCHK_TRY_ASSIGN(const Container container, Container::open(std::move(again), path));
  if (!container.is_complete()) {
    return fail(ErrorKind::kUnsupported, fmt::format("{}: the recording was not closed", path));
  }
  std::vector<IndexEntry> entries = container.chunks();
  for (const IndexEntry& entry : container.tail()) entries.push_back(entry);
  Tail tail(container.recording_id(), entries.back().end_offset());
  entries.push_back(tail.add(header, raw, Encoding::kZstd));
  const uint64_t index_offset = tail.end_offset();
  tail.add(header_of(ChunkType::kIndex, 0), encode_index(entries), Encoding::kZstd);
  tail.add(header_of(ChunkType::kEnd, index_offset), {}, Encoding::kStored);
  ByteView rest = tail.bytes();
  uint64_t offset = entries[entries.size() - 2].end_offset();
  while (!rest.empty()) {
    const ssize_t count = pwrite(file.get(), rest.data(), rest.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      // Without the rest of it the trailer would not be the file's end.
      (void)ftruncate(file.get(), static_cast<off_t>(entries[entries.size() - 2].end_offset()));
      return fail_errno(fmt::format("writing {}", path), error);
    }
    rest = rest.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

}  // namespace rchk::trace
