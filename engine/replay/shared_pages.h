#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"
#include "engine/replay/puppet.h"
#include "engine/trace/event.h"
#include "snapshot/pagemap.h"

namespace rchk::replay {

// The kernel's own number of a memory that puppets share.
struct SharedMemoryId {
  uint64_t device = 0, inode = 0;
  auto operator<=>(const SharedMemoryId&) const = default;
};

// A page of such a memory.
struct SharedPage {
  SharedMemoryId memory;
  uint64_t offset = 0;  // in bytes, of its beginning
  auto operator<=>(const SharedPage&) const = default;
};

// Bytes of a page.
struct PageBytes {
  uint32_t begin = 0, end = 0;
};
using ChangedBytes = std::map<SharedPage, std::vector<PageBytes>>;

// What all shared memory of a family holds, as far as anybody has used it.
class SharedContents {
 public:
  // Takes the content of a page in; the bytes that are not as before: all of it if it was not
  // known.
  std::vector<PageBytes> update(const SharedPage& page, ByteView content);
  // REQUIRES: the page is known, and has those bytes.
  ByteView bytes(const SharedPage& page, PageBytes which) const;

 private:
  std::map<SharedPage, Bytes> pages_;
};

// The shared memory that one puppet has mapped, and what of it was used since it was asked last.
class SharedViews {
 public:
  // What is mapped now may be other than it was.
  void forget() { known_for_.reset(); }
  // Bytes that an event stores, which no page table tells of.
  void note_stores(const trace::Event& event);
  // Those pages whose content is not what `contents` has, which it has then.
  Result<ChangedBytes> take_changes(Puppet& puppet, SharedContents& contents);
  // How the puppet's guest would store what is in `contents` now.
  Result<std::vector<trace::MemoryWrite>> stores(Puppet& puppet, const ChangedBytes& changed,
                                                 const SharedContents& contents);
  Result<bool> has(Puppet& puppet, const SharedMemoryId& memory);

 private:
  struct View {
    AddressRange range;
    SharedMemoryId memory;
    uint64_t offset = 0;  // in bytes, of the range's beginning
  };
  Result<void> learn(Puppet& puppet);
  Result<std::set<GuestAddress>> used_pages(const View& view);

  // Serial numbers of the puppet whose views and whose page table these are.
  std::optional<uint64_t> known_for_, puppet_;
  std::vector<View> views_;
  std::optional<snapshot::Pagemap> pagemap_;
  std::vector<AddressRange> stored_;  // by events
};

}  // namespace rchk::replay
