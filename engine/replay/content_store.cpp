#include "engine/replay/content_store.h"

#include <algorithm>

#include <sys/mman.h>
#include <unistd.h>

namespace rchk::replay {

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

  RCHK_TRY_ASSIGN(const Bytes bytes,
                  source_.file_bytes(backing.file, backing.offset_bytes, available));
  const Puppet::Contents contents{memfd_.get(), end_bytes_, available, file, info.size_bytes};
  const uint64_t padded = GuestAddress{available}.page_ceiling().value;
  if (ftruncate(memfd_.get(), static_cast<off_t>(end_bytes_ + padded)) != 0) {
    return fail_errno("growing the store of file contents");
  }
  for (uint64_t done = 0; done < available;) {
    const ssize_t put = pwrite(memfd_.get(), bytes.data() + done, available - done,
                               static_cast<off_t>(end_bytes_ + done));
    if (put <= 0) return fail_errno("storing file contents");
    done += static_cast<uint64_t>(put);
  }
  end_bytes_ += padded;
  placed_[key] = contents;
  return contents;
}

Result<Puppet::Contents> ContentStore::contents_besides_snapshot(const snapshot::Mapping& mapping) {
  Result<Puppet::Contents> contents = contents_of(mapping);
  const bool grown = !contents && mapping.shared && contents.error().kind == ErrorKind::kBadTrace;
  if (!grown) return contents;
  RCHK_TRY_ASSIGN(const trace::FileInfo info, source_.file_info(mapping.backing->file));
  return Puppet::Contents{-1, 0, 0, {info.device, info.inode}, info.size_bytes};
}

}  // namespace rchk::replay
