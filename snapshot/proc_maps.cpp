#include <algorithm>
#include <cerrno>
#include <charconv>

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/fd.h"
#include "snapshot/address_space.h"

namespace rchk::snapshot {
namespace {

// Reads one line of a maps file from left to right.
class LineCursor {
 public:
  explicit LineCursor(std::string_view line) : rest_(line) {}

  // A number of the given base that is followed by `terminator`, which is eaten too.
  bool number(uint64_t& out, int base, char terminator) {
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), out, base);
    const auto length = static_cast<size_t>(end - rest_.data());
    if (error != std::errc() || length >= rest_.size() || *end != terminator) return false;
    rest_.remove_prefix(length + 1);
    return true;
  }
  // The last number: a space or the end of the line follows.
  bool last_number(uint64_t& out) {
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), out, 10);
    if (error != std::errc()) return false;
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    return rest_.empty() || rest_.front() == ' ';
  }
  bool permissions(ProcMapsEntry& entry) {
    if (rest_.size() < 5 || rest_[4] != ' ') return false;
    const auto flag = [&](size_t index, char letter, uint8_t bit) {
      if (rest_[index] == letter) entry.protection |= bit;
      return rest_[index] == letter || rest_[index] == '-';
    };
    if (!flag(0, 'r', kRead) || !flag(1, 'w', kWrite) || !flag(2, 'x', kExecute)) return false;
    if (rest_[3] != 's' && rest_[3] != 'p') return false;
    entry.shared = rest_[3] == 's';
    rest_.remove_prefix(5);
    return true;
  }
  // The kernel prints a newline in a path as \012 and nothing else escaped (fs/proc/task_mmu.c,
  // show_map_vma: seq_file_path with "\n"), so a path with a literal "\012" is ambiguous.
  std::string name() {
    const size_t start = rest_.find_first_not_of(' ');
    if (start == std::string_view::npos) return {};
    constexpr std::string_view kEscapedNewline = "\\012";
    std::string text;
    for (std::string_view left = rest_.substr(start); !left.empty();) {
      const bool escaped = left.starts_with(kEscapedNewline);
      text.push_back(escaped ? '\n' : left.front());
      left.remove_prefix(escaped ? kEscapedNewline.size() : 1);
    }
    return text;
  }

 private:
  std::string_view rest_;
};

bool parse_line(std::string_view line, ProcMapsEntry& entry) {
  LineCursor cursor(line);
  uint64_t major_number = 0;
  uint64_t minor_number = 0;
  if (!cursor.number(entry.range.begin.value, 16, '-') ||
      !cursor.number(entry.range.end.value, 16, ' ') || !cursor.permissions(entry) ||
      !cursor.number(entry.offset_bytes, 16, ' ') || !cursor.number(major_number, 16, ':') ||
      !cursor.number(minor_number, 16, ' ') || !cursor.last_number(entry.inode)) {
    return false;
  }
  entry.device = makedev(static_cast<unsigned>(major_number), static_cast<unsigned>(minor_number));
  entry.name = cursor.name();
  return !entry.range.empty();
}

}  // namespace

Result<std::vector<ProcMapsEntry>> parse_proc_maps(std::string_view text) {
  std::vector<ProcMapsEntry> entries;
  for (size_t line_number = 1; !text.empty(); ++line_number) {
    const size_t length = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    if (!parse_line(line, entries.emplace_back())) {
      return fail(ErrorKind::kSystem,
                  fmt::format("maps, line {}: not understood: '{}'", line_number, line));
    }
  }
  return entries;
}

Result<std::vector<ProcMapsEntry>> read_proc_maps(int pid) {
  const std::string path = fmt::format("/proc/{}/maps", pid);
  const FileDescriptor file(open_descriptor(path.c_str(), O_RDONLY));
  if (!file.is_open()) {
    // A process that ended has no directory in /proc any more.
    return fail_errno(path, errno == ENOENT ? ESRCH : errno);
  }
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t count = read(file.get(), buffer, sizeof buffer);
    if (count == 0) break;
    if (count < 0) {
      if (errno == EINTR) continue;
      return fail_errno(path);
    }
    text.append(buffer, static_cast<size_t>(count));
  }
  return parse_proc_maps(text);
}

}  // namespace rchk::snapshot
