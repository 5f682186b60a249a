#include "snapshot/memory_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/descriptors.h"

namespace rchk::snapshot {
namespace {

// Bytes from `from` to the end of its page, but no more than `limit`.
uint64_t rest_of_page(GuestAddress from, uint64_t limit) {
  return std::min<uint64_t>(kPageSize - from.value % kPageSize, limit);
}

}  // namespace

Result<MemoryReader> MemoryReader::open(int pid) {
  const std::string path = fmt::format("/proc/{}/mem", pid);
  FileDescriptor memory(open_descriptor(path.c_str(), O_RDONLY));
  if (!memory.is_open()) {
    const int error = errno == ENOENT ? ESRCH : errno;
    return fail_errno(fmt::format("opening {}", path), error);
  }
  return MemoryReader(pid, std::move(memory));
}

Result<uint64_t> MemoryReader::read(GuestAddress from, std::span<uint8_t> into) const {
  uint64_t done = 0;
  while (done < into.size()) {
    const ssize_t got = pread(memory_.get(), into.data() + done, into.size() - done,
                              static_cast<off_t>((from + done).value));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;  // EIO: not mapped
    if (got == 0) {
      // An unmapped page gives EIO; only an address space that is no more reads as empty
      // (fs/proc/base.c, mem_rw, where mmget_not_zero fails).
      return fail_errno(fmt::format("reading memory of process {}", pid_), ESRCH);
    }
    done += static_cast<uint64_t>(got);
  }
  return done;
}

Result<void> MemoryReader::read_exactly(GuestAddress from, std::span<uint8_t> into) const {
  RCHK_TRY_ASSIGN(const uint64_t got, read(from, into));
  if (got == into.size()) return {};
  return fail_errno(
      fmt::format("reading {} bytes of process {} at {}", into.size(), pid_, from + got), EFAULT);
}

Result<std::vector<GuestAddress>> MemoryReader::read_or_zero(GuestAddress from,
                                                             std::span<uint8_t> into) const {
  std::vector<GuestAddress> unreadable;
  uint64_t done = 0;
  while (done < into.size()) {
    RCHK_TRY_ASSIGN(const uint64_t got, read(from + done, into.subspan(done)));
    done += got;
    if (done == into.size()) break;
    const uint64_t piece = rest_of_page(from + done, into.size() - done);
    std::memset(into.data() + done, 0, piece);
    unreadable.push_back((from + done).page_floor());
    done += piece;
  }
  return unreadable;
}

Result<std::vector<size_t>> MemoryReader::read_pages(std::span<const GuestAddress> pages,
                                                     std::span<uint8_t> into) const {
  RCHK_CHECK(into.size() >= pages.size() * kPageSize);
  std::vector<size_t> unreadable;
  for (size_t first = 0; first < pages.size();) {
    // Neighbours come in one call.
    size_t end = first + 1;
    while (end < pages.size() && pages[end] == pages[end - 1] + kPageSize) ++end;
    const auto bytes = into.subspan(first * kPageSize, (end - first) * kPageSize);
    RCHK_TRY_ASSIGN(const std::vector<GuestAddress> missing, read_or_zero(pages[first], bytes));
    for (const GuestAddress page : missing) {
      unreadable.push_back(first + (page - pages[first]) / kPageSize);
    }
    first = end;
  }
  return unreadable;
}

}  // namespace rchk::snapshot
