#include "engine/replay/shared_pages.h"

#include <algorithm>
#include <cstring>

namespace rchk::replay {

namespace {

// Stretches of equal bytes that are no longer than this are not worth a store more.
constexpr uint32_t kShortestGap = 16;

std::vector<PageBytes> differences(ByteView before, ByteView now) {
  std::vector<PageBytes> found;
  for (uint32_t at = 0; at < now.size(); ++at) {
    if (before[at] == now[at]) continue;
    if (!found.empty() && at - found.back().end <= kShortestGap) {
      found.back().end = at + 1;
    } else {
      found.push_back({at, at + 1});
    }
  }
  return found;
}

template <typename Call>
void for_each_store(const trace::Event& event, const Call& call) {
  const auto all = [&call](const std::vector<trace::MemoryWrite>& writes) {
    for (const trace::MemoryWrite& write : writes) {
      call(range_of(write.address, write.bytes.size()));
    }
  };
  const auto discards = [&call](const std::vector<trace::AddressSpaceChange>& changes) {
    for (const trace::AddressSpaceChange& change : changes) {
      if (const auto* discard = std::get_if<trace::DiscardChange>(&change)) call(discard->range);
    }
  };
  if (const auto* made = std::get_if<trace::SyscallEvent>(&event.body)) {
    all(made->writes);
    discards(made->changes);
  } else if (const auto* memory = std::get_if<trace::MemoryEvent>(&event.body)) {
    all(memory->writes);
    discards(memory->changes);
  } else if (const auto* signal = std::get_if<trace::SignalEvent>(&event.body)) {
    if (signal->handler) all(signal->handler->frame);
  } else if (const auto* end = std::get_if<trace::TaskEndEvent>(&event.body)) {
    all(end->writes);
  } else if (const auto* spawn = std::get_if<trace::SpawnEvent>(&event.body)) {
    all(spawn->writes);
  }
}

}  // namespace

std::vector<PageBytes> SharedContents::update(const SharedPage& page, ByteView content) {
  const auto [known, is_new] = pages_.try_emplace(page, content.begin(), content.end());
  if (is_new) return {{0, static_cast<uint32_t>(content.size())}};
  if (std::memcmp(known->second.data(), content.data(), content.size()) == 0) return {};
  std::vector<PageBytes> changed = differences(known->second, content);
  std::copy(content.begin(), content.end(), known->second.begin());
  return changed;
}

ByteView SharedContents::bytes(const SharedPage& page, PageBytes which) const {
  return ByteView(pages_.at(page)).subspan(which.begin, which.end - which.begin);
}

void SharedViews::note_stores(const trace::Event& event) {
  for_each_store(event, [this](AddressRange range) {
    if (stored_.empty() || stored_.back() != range) stored_.push_back(range);
  });
}

Result<void> SharedViews::learn(Puppet& puppet) {
  if (known_for_ == puppet.serial()) return {};
  if (!pagemap_ || puppet_ != puppet.serial()) {
    RCHK_TRY_ASSIGN(pagemap_, snapshot::Pagemap::open(puppet.pid()));
    puppet_ = puppet.serial();
  }
  views_.clear();
  std::vector<AddressRange> shared;
  for (const auto& [begin, mapping] : puppet.space().mappings()) {
    if (mapping.shared) shared.push_back(mapping.range);
  }
  known_for_ = puppet.serial();
  if (shared.empty()) return {};
  RCHK_TRY_ASSIGN(const auto maps, snapshot::read_proc_maps(puppet.pid()));
  for (const snapshot::ProcMapsEntry& entry : maps) {
    if (!entry.shared) continue;
    for (const AddressRange& range : shared) {
      const AddressRange part{std::max(range.begin, entry.range.begin),
                              std::min(range.end, entry.range.end)};
      if (part.begin >= part.end) continue;
      views_.push_back({part,
                        {entry.device, entry.inode},
                        entry.offset_bytes + (part.begin - entry.range.begin)});
    }
  }
  return {};
}

Result<std::set<GuestAddress>> SharedViews::used_pages(const View& view) {
  std::set<GuestAddress> pages;
  RCHK_TRY_ASSIGN(const auto populated, pagemap_->populated(view.range));
  for (const snapshot::PopulatedRange& part : populated) {
    std::vector<snapshot::PageEntry> entries;
    RCHK_TRY(pagemap_->read(part.range, entries));
    for (size_t i = 0; i < entries.size(); ++i) {
      if (entries[i].in_table()) pages.insert(part.range.begin + i * kPageSize);
    }
  }
  for (const AddressRange& range : stored_) {
    const GuestAddress end = std::min(range.end, view.range.end);
    for (GuestAddress page = std::max(range.begin, view.range.begin).page_floor(); page < end;
         page = page + kPageSize) {
      pages.insert(page);
    }
  }
  return pages;
}

Result<ChangedBytes> SharedViews::take_changes(Puppet& puppet, SharedContents& contents) {
  RCHK_TRY(learn(puppet));
  ChangedBytes changed;
  Bytes content(kPageSize);
  for (const View& view : views_) {
    RCHK_TRY_ASSIGN(const std::set<GuestAddress> pages, used_pages(view));
    for (const GuestAddress page : pages) {
      // Behind the end of a file there is nothing.
      if (puppet.read_memory(page, content) != kPageSize) continue;
      const SharedPage id{view.memory, view.offset + (page - view.range.begin)};
      std::vector<PageBytes> bytes = contents.update(id, content);
      if (bytes.empty()) continue;
      std::vector<PageBytes>& all = changed[id];
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    // Reading them has used them as well.
    if (!pages.empty()) RCHK_TRY(puppet.forget_use_of(view.range));
  }
  stored_.clear();
  return changed;
}

Result<std::vector<trace::MemoryWrite>> SharedViews::stores(Puppet& puppet,
                                                            const ChangedBytes& changed,
                                                            const SharedContents& contents) {
  RCHK_TRY(learn(puppet));
  std::vector<trace::MemoryWrite> stores;
  for (const View& view : views_) {
    const SharedPage first{view.memory, view.offset};
    const SharedPage end{view.memory, view.offset + view.range.size()};
    for (auto page = changed.lower_bound(first); page != changed.end() && page->first < end;
         ++page) {
      const GuestAddress address = view.range.begin + (page->first.offset - view.offset);
      for (const PageBytes& which : page->second) {
        const ByteView bytes = contents.bytes(page->first, which);
        stores.push_back({address + which.begin, Bytes(bytes.begin(), bytes.end())});
      }
    }
  }
  return stores;
}

Result<bool> SharedViews::has(Puppet& puppet, const SharedMemoryId& memory) {
  RCHK_TRY(learn(puppet));
  return std::any_of(views_.begin(), views_.end(),
                     [&memory](const View& view) { return view.memory == memory; });
}

}  // namespace rchk::replay
