#include "snapshot/checksum.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <optional>
#include <system_error>
#include <thread>

#include <xxhash.h>

#include "base/cpus.h"
#include "snapshot/memory_reader.h"
#include "snapshot/pagemap.h"
#include "snapshot/range_set.h"

namespace rchk::snapshot {
namespace {

constexpr size_t kPagesPerRun = kChecksumRunBytes / kPageSize;
// For which a second thread is worth being begun: 16 MiB, some 15 ms.
constexpr uint64_t kPagesForTwo = 16 * kPagesPerRun;

bool reads_as_zeros(std::span<const uint8_t> page) {
  // Most pages fail at the first word; memcmp of the page with itself, shifted, does the rest.
  uint64_t first;
  std::memcpy(&first, page.data(), sizeof(first));
  if (first != 0) return false;
  return std::memcmp(page.data(), page.data() + sizeof(first), page.size() - sizeof(first)) == 0;
}

// Sums up one aligned MiB of memory after the other.
class Summer {
 public:
  explicit Summer(const MemoryReader& memory) : memory_(memory), buffer_(kChecksumRunBytes) {}

  // REQUIRES: ranges come in order of address.
  Result<void> add(AddressRange range) {
    for (GuestAddress at = range.begin; at < range.end;) {
      const GuestAddress run{at.value & ~(kChecksumRunBytes - 1)};
      if (run != run_) {
        finish_run();
        run_ = run;
      }
      const AddressRange piece{at, std::min(run + kChecksumRunBytes, range.end)};
      RCHK_TRY(add_piece(piece));
      at = piece.end;
    }
    return {};
  }

  std::vector<RunChecksum> finish() {
    finish_run();
    return std::move(sums_);
  }

 private:
  // REQUIRES: `piece` lies in the current run.
  Result<void> add_piece(AddressRange piece) {
    const std::span<uint8_t> bytes(buffer_.data(), piece.size());
    RCHK_TRY(memory_.read_or_zero(piece.begin, bytes));
    for (uint64_t offset = 0; offset < piece.size(); offset += kPageSize) {
      const auto page = bytes.subspan(offset, kPageSize);
      if (reads_as_zeros(page)) continue;
      words_[count_++] = (piece.begin + offset).value;
      words_[count_++] = XXH3_64bits(page.data(), page.size());
    }
    return {};
  }

  void finish_run() {
    if (count_ == 0) return;
    const uint64_t sum = XXH3_64bits(words_.data(), count_ * sizeof(uint64_t));
    sums_.push_back({range_of(run_, kChecksumRunBytes), sum});
    count_ = 0;
  }

  const MemoryReader& memory_;
  std::vector<uint8_t> buffer_;  // one run, small enough to stay in the processor's cache
  GuestAddress run_;
  std::array<uint64_t, 2 * kPagesPerRun> words_ = {};
  size_t count_ = 0;
  std::vector<RunChecksum> sums_;
};

// The pages of `range` that are in the page table, without those known to be the page of zeros.
Result<RangeSet> pages_in_table(const Pagemap& pagemap, AddressRange range) {
  RangeSet pages;
  if (pagemap.can_scan()) {
    RCHK_TRY_ASSIGN(const std::vector<PopulatedRange> populated, pagemap.populated(range));
    for (const PopulatedRange& part : populated) {
      if (!part.zero_pages) append_in_order(pages, part.range);
    }
    return pages;
  }
  constexpr uint64_t kPieceBytes = uint64_t{128} << 20;  // 256 KiB of pagemap at a time
  std::vector<PageEntry> entries;
  for (GuestAddress at = range.begin; at < range.end; at = at + kPieceBytes) {
    RCHK_TRY(pagemap.read({at, std::min(at + kPieceBytes, range.end)}, entries));
    for (size_t i = 0; i < entries.size(); ++i) {
      if (entries[i].in_table()) append_in_order(pages, range_of(at + i * kPageSize, kPageSize));
    }
  }
  return pages;
}

// The parts of the process's memory in which an absent page reads as zeros. Asked of the process
// and not of the recording's map: a replay may hold a guest's anonymous memory in a file.
Result<RangeSet> anonymous_memory(int pid) {
  RCHK_TRY_ASSIGN(const std::vector<ProcMapsEntry> maps, read_proc_maps(pid));
  RangeSet anonymous;
  for (const ProcMapsEntry& entry : maps) {
    if (!entry.shared && entry.inode == 0) append_in_order(anonymous, entry.range);
  }
  return anonymous;
}

// What must be read to sum up `space`: all that is readable but pages known to be zeros.
Result<RangeSet> memory_to_read(int pid, const AddressSpace& space) {
  RangeSet readable;
  for (const auto& [begin, mapping] : space.mappings()) {
    if (mapping.readable()) append_in_order(readable, mapping.range);
  }
  const Result<Pagemap> pagemap = Pagemap::open(pid);
  if (!pagemap) return readable;  // slower, and the same sums
  RCHK_TRY_ASSIGN(const RangeSet anonymous, anonymous_memory(pid));
  RangeSet wanted = difference(readable, anonymous);
  for (const AddressRange& range : intersection(readable, anonymous)) {
    RCHK_TRY_ASSIGN(const RangeSet pages, pages_in_table(*pagemap, range));
    wanted.insert(wanted.end(), pages.begin(), pages.end());
  }
  return normalized(std::move(wanted));
}

Result<std::vector<RunChecksum>> sum_up(const MemoryReader& memory, const RangeSet& ranges) {
  Summer summer(memory);
  for (const AddressRange& range : ranges) RCHK_TRY(summer.add(range));
  return summer.finish();
}

// Cuts at the begin of a run, and returns what is behind it.
RangeSet take_second_half(RangeSet& ranges) {
  uint64_t pages = total_pages(ranges) / 2;
  auto middle = ranges.begin();
  while (pages >= middle->size() / kPageSize) pages -= (middle++)->size() / kPageSize;
  const uint64_t cut = (middle->begin + pages * kPageSize).value & ~(kChecksumRunBytes - 1);
  const AddressRange above{{cut}, {~(kPageSize - 1)}};
  RangeSet second = intersection(ranges, {above});
  ranges = difference(ranges, {above});
  return second;
}

// A thread that is sent no signals (but for faults, whose handler is the caller's) and may run on
// all of `cpus`, whatever the caller is bound to. Nothing where there may be no more threads.
template <typename Work>
std::optional<std::thread> begin_beside(std::span<const int> cpus, Work work) {
  sigset_t all, before;
  sigfillset(&all);
  sigdelset(&all, SIGSEGV);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::optional<std::thread> thread;
  try {
    thread.emplace([cpus, work] {
      run_on(0, cpus);
      work();
    });
  } catch (const std::system_error&) {
    thread.reset();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

Result<std::vector<RunChecksum>> checksum_memory(int pid, const AddressSpace& space,
                                                 std::span<const int> cpus) {
  RCHK_TRY_ASSIGN(const MemoryReader memory, MemoryReader::open(pid));
  RCHK_TRY_ASSIGN(RangeSet wanted, memory_to_read(pid, space));
  if (cpus.size() < 2 || total_pages(wanted) < kPagesForTwo) return sum_up(memory, wanted);
  const RangeSet rest = take_second_half(wanted);
  Result<std::vector<RunChecksum>> more;
  std::optional<std::thread> other = begin_beside(cpus, [&] { more = sum_up(memory, rest); });
  Result<std::vector<RunChecksum>> sums = sum_up(memory, wanted);
  if (other) {
    other->join();
  } else {
    more = sum_up(memory, rest);
  }
  if (!more) return more;
  if (sums) sums->insert(sums->end(), more->begin(), more->end());
  return sums;
}

std::optional<AddressRange> first_difference(const std::vector<RunChecksum>& expected,
                                             const std::vector<RunChecksum>& found) {
  auto left = expected.begin();
  auto right = found.begin();
  while (left != expected.end() && right != found.end()) {
    if (*left == *right) {
      ++left;
      ++right;
      continue;
    }
    return std::min(left->range, right->range);
  }
  if (left != expected.end()) return left->range;
  if (right != found.end()) return right->range;
  return std::nullopt;
}

}  // namespace rchk::snapshot
