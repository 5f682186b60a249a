#include "engine/replay/content_store.h"

#include <algorithm>
#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

namespace rchk::replay {

namespace {

constexpr uint64_t kPieceBytes = 64 << 20;

}  // namespace

Result<std::unique_ptr<ContentStore>> ContentStore::create(trace::EventSource& source) {
  FileDescriptor memfd(memfd_create("rchk-contents", MFD_CLOEXEC));
  if (!memfd.is_open()) return fail_errno("memfd_create");
  return std::unique_ptr<ContentStore>(new ContentStore(source, std::move(memfd)));
}

Result<Puppet::Contents> ContentStore::contents_of(const snapshot::Mapping& mapping) {
  const snapshot::FileBacking& backing = *mapping.backing;
  RCHK_TRY_ASSIGN(const trace::FileInfo info, source_.file_info(backing.file));
  const uint64_t behind =
      info.size_bytes > backing.offset_bytes ? info.size_bytes - backing.offset_bytes : 0;
  const uint64_t available = std::min(mapping.range.size(), behind);
  const SharedFile file{info.device, info.inode};
  if (available == 0) return Puppet::Contents{-1, 0, 0, file, info.size_bytes};
  const Key key{backing.file, backing.offset_bytes, available};
  if (const auto known = placed_.find(key); known != placed_.end()) return known->second;

  const Puppet::Contents contents{memfd_.get(), end_bytes_, available, file, info.size_bytes};
  const uint64_t padded = GuestAddress{available}.page_ceiling().value;
  if (ftruncate(memfd_.get(), static_cast<off_t>(end_bytes_ + padded)) != 0) {
    return fail_errno("growing the store of file contents");
  }
  for (uint64_t done = 0; done < available; done += kPieceBytes) {
    RCHK_TRY_ASSIGN(const Bytes bytes, source_.file_bytes(backing.file, backing.offset_bytes + done,
                                                          std::min(kPieceBytes, available - done)));
    RCHK_TRY(store(bytes, end_bytes_ + done));
  }
  end_bytes_ += padded;
  placed_[key] = contents;
  return contents;
}

// Pages of zeros stay holes.
Result<void> ContentStore::store(ByteView bytes, uint64_t offset_bytes) {
  static constexpr uint8_t kZeros[kPageSize] = {};
  const auto is_hole = [&](uint64_t at) {
    return std::memcmp(bytes.data() + at, kZeros, std::min(kPageSize, bytes.size() - at)) == 0;
  };
  for (uint64_t at = 0; at < bytes.size();) {
    uint64_t end = at;
    while (end < bytes.size() && !is_hole(end)) end = std::min(end + kPageSize, bytes.size());
    while (at < end) {
      const ssize_t put =
          pwrite(memfd_.get(), bytes.data() + at, end - at, static_cast<off_t>(offset_bytes + at));
      if (put <= 0) return fail_errno("storing file contents");
      at += static_cast<uint64_t>(put);
    }
    while (at < bytes.size() && is_hole(at)) at = std::min(at + kPageSize, bytes.size());
  }
  return {};
}

Result<Puppet::Contents> ContentStore::contents_besides_snapshot(const snapshot::Mapping& mapping) {
  Result<Puppet::Contents> contents = contents_of(mapping);
  const bool grown = !contents && mapping.shared && contents.error().kind == ErrorKind::kBadTrace;
  if (!grown) return contents;
  RCHK_TRY_ASSIGN(const trace::FileInfo info, source_.file_info(mapping.backing->file));
  return Puppet::Contents{-1, 0, 0, {info.device, info.inode}, info.size_bytes};
}

}  // namespace rchk::replay
