#include "snapshot/memory_reader.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace rchk::snapshot {
namespace {

// One call's worth of scattered pages; Linux refuses more than UIO_MAXIOV = 1024 pieces.
constexpr size_t kPagesPerCall = 512;

iovec remote_piece(GuestAddress address, uint64_t bytes) {
  return {reinterpret_cast<void*>(address.value), bytes};
}

// Bytes from `from` to the end of its page, but no more than `limit`.
uint64_t rest_of_page(GuestAddress from, uint64_t limit) {
  return std::min<uint64_t>(kPageSize - from.value % kPageSize, limit);
}

}  // namespace

Result<MemoryReader> MemoryReader::open(int pid) {
  const std::string path = fmt::format("/proc/{}/mem", pid);
  FileDescriptor memory(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!memory.is_open()) {
    const int error = errno == ENOENT ? ESRCH : errno;
    return fail_errno(fmt::format("opening {}", path), error);
  }
  // Page 0 is never mapped where vm.mmap_min_addr is set: EFAULT says that the call was allowed.
  uint8_t byte = 0;
  iovec local{&byte, 1};
  iovec remote = remote_piece({0}, 1);
  const ssize_t got = process_vm_readv(pid, &local, 1, &remote, 1, 0);
  const bool direct = got >= 0 || errno == EFAULT;
  return MemoryReader(pid, std::move(memory), direct);
}

// Stops short at what it cannot read, without an error.
Result<uint64_t> MemoryReader::read_direct(GuestAddress from, std::span<uint8_t> into) const {
  uint64_t done = 0;
  while (done < into.size()) {
    iovec local{into.data() + done, into.size() - done};
    iovec remote = remote_piece(from + done, into.size() - done);
    const ssize_t got = process_vm_readv(pid_, &local, 1, &remote, 1, 0);
    if (got > 0) {
      done += static_cast<uint64_t>(got);
    } else if (got < 0 && errno == EINTR) {
      continue;
    } else if (got < 0 && errno == ESRCH) {
      return fail_errno(fmt::format("reading memory of process {}", pid_));
    } else {
      break;
    }
  }
  return done;
}

Result<uint64_t> MemoryReader::read_through_file(GuestAddress from, std::span<uint8_t> into) const {
  uint64_t done = 0;
  while (done < into.size()) {
    const ssize_t got = pread(memory_.get(), into.data() + done, into.size() - done,
                              static_cast<off_t>((from + done).value));
    if (got > 0) {
      done += static_cast<uint64_t>(got);
    } else if (got < 0 && errno == EINTR) {
      continue;
    } else if (got == 0) {
      // An unmapped page gives EIO; only an address space that is no more reads as empty
      // (fs/proc/base.c, mem_rw, where mmget_not_zero fails).
      return fail_errno(fmt::format("reading memory of process {}", pid_), ESRCH);
    } else {
      break;
    }
  }
  return done;
}

Result<uint64_t> MemoryReader::read(GuestAddress from, std::span<uint8_t> into) const {
  uint64_t done = 0;
  while (done < into.size()) {
    if (!direct_) {
      RCHK_TRY_ASSIGN(const uint64_t got, read_through_file(from + done, into.subspan(done)));
      return done + got;
    }
    RCHK_TRY_ASSIGN(const uint64_t got, read_direct(from + done, into.subspan(done)));
    done += got;
    if (done == into.size()) break;
    // The page in the way may be PROT_NONE; past it the fast way may work again.
    const uint64_t piece = rest_of_page(from + done, into.size() - done);
    RCHK_TRY_ASSIGN(const uint64_t forced,
                    read_through_file(from + done, into.subspan(done, piece)));
    done += forced;
    if (forced < piece) break;
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
  size_t index = 0;
  std::array<iovec, kPagesPerCall> remote;
  while (index < pages.size()) {
    if (direct_) {
      const size_t count = std::min(pages.size() - index, kPagesPerCall);
      for (size_t i = 0; i < count; ++i) remote[i] = remote_piece(pages[index + i], kPageSize);
      iovec local{into.data() + index * kPageSize, count * kPageSize};
      const ssize_t got = process_vm_readv(pid_, &local, 1, remote.data(), count, 0);
      // A short read may end inside a page, or at the end of a page that came whole.
      if (got > 0) index += static_cast<size_t>(got) / kPageSize;
      if (got == static_cast<ssize_t>(count * kPageSize)) continue;
    }
    const std::span<uint8_t> page = into.subspan(index * kPageSize, kPageSize);
    RCHK_TRY_ASSIGN(const std::vector<GuestAddress> missing, read_or_zero(pages[index], page));
    if (!missing.empty()) unreadable.push_back(index);
    ++index;
  }
  return unreadable;
}

}  // namespace rchk::snapshot
