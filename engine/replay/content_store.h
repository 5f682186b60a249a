#pragma once

#include <compare>
#include <map>

#include "base/fd.h"
#include "base/result.h"
#include "engine/replay/puppet.h"
#include "engine/trace/source.h"

namespace rchk::replay {

// Holds the recorded contents of mapped files in one memfd, from which puppets map them, so that
// all puppets share the pages that the guest did not change.
class ContentStore {
 public:
  static Result<std::unique_ptr<ContentStore>> create(trace::EventSource& source);

  // Where the bytes that `mapping` shows at first are. REQUIRES: it has a backing.
  Result<Puppet::Contents> contents_of(const snapshot::Mapping& mapping);
  // The same for a shared mapping that a page snapshot has the contents of: it may have grown to
  // where nothing of the file was recorded.
  Result<Puppet::Contents> contents_besides_snapshot(const snapshot::Mapping& mapping);

 private:
  Result<void> store(ByteView bytes, uint64_t offset_bytes);
  struct Key {
    snapshot::FileId file;
    uint64_t offset_bytes;
    uint64_t size_bytes;
    auto operator<=>(const Key&) const = default;
  };

  ContentStore(trace::EventSource& source, FileDescriptor memfd)
      : source_(source), memfd_(std::move(memfd)) {}

  trace::EventSource& source_;
  FileDescriptor memfd_;
  uint64_t end_bytes_ = 0;
  std::map<Key, Puppet::Contents> placed_;
};

}  // namespace rchk::replay
