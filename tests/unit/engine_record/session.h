#pragma once

#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine/record/recorder.h"
#include "engine/trace/event_log.h"

namespace rchk::record::test {

// A recording of one of the guests, whose output is caught.
class Session {
 public:
  explicit Session(const std::string& guest, bool patch_counter = false)
      : Session(guest, {"/proc/self/exe"}, 0, patch_counter) {}
  Session(const std::string& guest, std::vector<std::string> arguments, int standard_input = 0,
          bool patch_counter = false) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) ADD_FAILURE() << "pipe";
    output_ = FileDescriptor(ends[0]);
    FileDescriptor write_end(ends[1]);
    RecorderOptions options;
    options.program.arguments = std::move(arguments);
    options.program.environment = {"RCHK_TEST_GUEST=" + guest};
    options.program.standard_fds = {standard_input, write_end.get(), write_end.get()};
    options.patch_counter = patch_counter;
    options.message = [this](std::string_view text) { messages_.emplace_back(text); };
    log_ = std::make_unique<trace::EventLog>(Recorder::describe(options));
    auto recorder = Recorder::start(options, *log_);
    if (!recorder) {
      ADD_FAILURE() << recorder.error().message();
      return;
    }
    recorder_ = std::move(*recorder);
  }

  Recorder& recorder() { return *recorder_; }
  trace::EventLog& log() { return *log_; }
  const std::vector<std::string>& messages() const { return messages_; }

  RecorderStop run(const RunLimits& limits = {}) {
    auto stop = recorder_->run(limits);
    if (!stop) {
      ADD_FAILURE() << stop.error().message();
      return {.cause = StopCause::kExited, .status = -1};
    }
    return *stop;
  }

  // All that the guest wrote, after its end.
  std::string output() {
    std::string text;
    char buffer[4096];
    for (;;) {
      const ssize_t got = read(output_.get(), buffer, sizeof(buffer));
      if (got <= 0) return text;
      text.append(buffer, static_cast<size_t>(got));
    }
  }

  template <typename T>
  std::vector<T> events() {
    std::vector<T> found;
    for (uint64_t i = 0; i < log_->event_count(); ++i) {
      const auto event = log_->event({i});
      if (!event) {
        ADD_FAILURE() << event.error().message();
        break;
      }
      if (const T* body = std::get_if<T>(&(*event)->body)) found.push_back(*body);
    }
    return found;
  }

  // Where something of this program is in the guest.
  GuestAddress in_guest(const volatile void* here) {
    const auto own = snapshot::read_proc_maps(getpid());
    uint64_t own_base = 0;
    for (const auto& entry : *own) {
      if (entry.offset_bytes == 0 && entry.name == exe()) {
        own_base = entry.range.begin.value;
        break;
      }
    }
    for (const auto& [begin, mapping] : recorder_->address_space().mappings()) {
      if (mapping.name != exe()) continue;
      return {reinterpret_cast<uint64_t>(here) - own_base + begin.value};
    }
    ADD_FAILURE() << "the guest's program is not mapped";
    return {};
  }

 private:
  static std::string exe() {
    char path[4096];
    const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
    return std::string(path, size > 0 ? static_cast<size_t>(size) : 0);
  }

  FileDescriptor output_;
  std::vector<std::string> messages_;
  std::unique_ptr<trace::EventLog> log_;
  std::unique_ptr<Recorder> recorder_;
};

}  // namespace rchk::record::test
