#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/fd.h"
#include "engine/trace/writer.h"

namespace rchk::cli {

// Saves what a recorder has by now, on SIGUSR1 or when `rchk save` asks for it, on threads of its
// own. A request is "path" or "save[ FILE]" up to where the other side ends it, the answer "PID
// PATH" of the program and the recording, "saved PATH", or "error TEXT".
//
// Takes SIGUSR1 of the whole process. There is one at a time.
class Saver {
 public:
  // `writer` outlives it. To be started before the recorder pins its thread.
  static Result<std::unique_ptr<Saver>> start(trace::TraceWriter& writer, std::string path);
  ~Saver();
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  // Which program it is that is recorded, as soon as that is known.
  void set_guest(pid_t pid) { guest_ = pid; }

 private:
  Saver(trace::TraceWriter& writer, std::string path) : writer_(writer), path_(std::move(path)) {}
  void work();
  void answer(const FileDescriptor& client);
  // To a file beside the recording, where none is named. Returns its path.
  Result<std::string> save(const std::string& file);

  trace::TraceWriter& writer_;
  const std::string path_;
  std::atomic<pid_t> guest_ = 0;
  FileDescriptor socket_;            // where `rchk save` asks; or none
  FileDescriptor wakes_, requests_;  // a pipe: a byte for each SIGUSR1; its end is the thread's
  std::mutex saving_;
  std::thread thread_;
};

}  // namespace rchk::cli
