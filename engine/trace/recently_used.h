#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <utility>

#include "base/result.h"

namespace rchk::trace {

// The last few values that were loaded, by key. Not thread-safe.
template <typename T>
class RecentlyUsed {
 public:
  explicit RecentlyUsed(size_t capacity) : capacity_(capacity) {}

  // The value of `key`; `load()` makes it, as a Result<T>, when it is not there.
  template <typename Load>
  Result<std::shared_ptr<const T>> get(uint64_t key, Load load) {
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->first != key) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      return entries_.front().second;
    }
    RCHK_TRY_ASSIGN(T value, load());
    if (entries_.size() >= capacity_) entries_.pop_back();
    entries_.emplace_front(key, std::make_shared<const T>(std::move(value)));
    return entries_.front().second;
  }

 private:
  size_t capacity_;
  std::list<std::pair<uint64_t, std::shared_ptr<const T>>> entries_;  // latest first
};

}  // namespace rchk::trace
