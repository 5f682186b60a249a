#include "engine/record/output_streams.h"

#include <cstdlib>
#include <type_traits>

#include <sys/stat.h>
#include <unistd.h>

#include "engine/record/files.h"
#include "engine/record/process.h"

namespace rchk::record {

namespace {

bool same_file(pid_t pid, int a, int b) {
  struct stat of_a, of_b;
  return stat(fmt::format("/proc/{}/fd/{}", pid, a).c_str(), &of_a) == 0 &&
         stat(fmt::format("/proc/{}/fd/{}", pid, b).c_str(), &of_b) == 0 &&
         of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

}  // namespace

trace::OutputStream OutputStreams::stream_of(int descriptor) const {
  const auto found = streams_.find(descriptor);
  return found == streams_.end() ? trace::OutputStream::kNone : found->second.stream;
}

void OutputStreams::apply(const syscalls::DescriptorChange& change, pid_t pid) {
  if (const auto* opened = std::get_if<syscalls::DescriptorOpened>(&change)) {
    streams_.erase(opened->descriptor);
    // The same terminal or pipe under another name: /dev/stdout, /dev/tty, /proc/self/fd/1.
    const std::string name = read_proc_link(pid, fmt::format("fd/{}", opened->descriptor));
    if (name.rfind("/dev/", 0) != 0 && name.rfind("pipe:", 0) != 0) return;
    for (const auto& [descriptor, entry] : streams_) {
      if (!same_file(pid, descriptor, opened->descriptor)) continue;
      const Entry copy{entry.stream, opened->close_on_exec};
      streams_[opened->descriptor] = copy;
      return;
    }
  } else if (const auto* copied = std::get_if<syscalls::DescriptorDuplicated>(&change)) {
    const trace::OutputStream stream = stream_of(copied->source);
    streams_.erase(copied->descriptor);
    if (stream != trace::OutputStream::kNone) {
      streams_[copied->descriptor] = {stream, copied->close_on_exec};
    }
  } else if (const auto* closed = std::get_if<syscalls::DescriptorsClosed>(&change)) {
    std::erase_if(streams_, [&](const auto& entry) {
      const auto descriptor = static_cast<uint32_t>(entry.first);
      return closed->first <= descriptor && descriptor <= closed->last;
    });
  } else if (const auto* marked = std::get_if<syscalls::CloseOnExecChanged>(&change)) {
    for (auto& [number, entry] : streams_) {
      const auto descriptor = static_cast<uint32_t>(number);
      if (marked->first <= descriptor && descriptor <= marked->last) {
        entry.close_on_exec = marked->close_on_exec;
      }
    }
  }
}

void OutputStreams::on_exec() {
  std::erase_if(streams_, [](const auto& entry) { return entry.second.close_on_exec; });
}

Bytes bytes_moved_from(pid_t pid, int source, uint64_t bytes, std::optional<uint64_t> offset) {
  if (!offset) {
    const auto info = read_proc_file(pid, fmt::format("fdinfo/{}", source));
    if (!info) return {};
    const std::string text(info->begin(), info->end());
    if (text.rfind("pos:", 0) != 0) return {};
    offset = std::strtoull(text.c_str() + 4, nullptr, 10);
  }
  const Result<FileDescriptor> file = open_guest_file(pid, source);
  struct stat status;
  if (!file || fstat(file->get(), &status) != 0 || !S_ISREG(status.st_mode) || *offset < bytes) {
    return {};
  }
  Bytes data(bytes);
  const ssize_t got = pread(file->get(), data.data(), bytes, static_cast<off_t>(*offset - bytes));
  data.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return data;
}

}  // namespace rchk::record
