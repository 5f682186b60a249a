#include <algorithm>
#include <charconv>
#include <filesystem>

#include "cli/commands.h"
#include "cli/recorder_socket.h"

namespace rchk::cli {

namespace {

namespace fs = std::filesystem;

bool is_wanted(const RunningRecorder& recorder, const std::string& wanted) {
  int32_t pid = 0;
  const char* const end = wanted.data() + wanted.size();
  const auto parsed = std::from_chars(wanted.data(), end, pid);
  if (parsed.ec == std::errc() && parsed.ptr == end) {
    return pid == recorder.pid || pid == recorder.guest;
  }
  std::error_code error;
  return fs::equivalent(wanted, recorder.recording, error) && !error;
}

Result<std::string> save(const SaveOptions& options) {
  std::vector<RunningRecorder> recorders = running_recorders();
  for (const RunningRecorder& recorder : recorders) {
    if (recorder.answers) continue;
    fmt::print(stderr, "rchk: the recorder {} does not answer; it may be stopped (kill -CONT {})\n",
               recorder.pid, recorder.pid);
  }
  std::erase_if(recorders, [](const RunningRecorder& recorder) { return !recorder.answers; });
  if (!options.recorder.empty()) {
    std::erase_if(recorders, [&](const RunningRecorder& recorder) {
      return !is_wanted(recorder, options.recorder);
    });
  }
  if (recorders.empty()) {
    return fail(ErrorKind::kMisuse,
                options.recorder.empty()
                    ? std::string("no `rchk record` of this user runs here")
                    : fmt::format("no `rchk record` of this user runs here that is, or writes, {}",
                                  options.recorder));
  }
  const RunningRecorder& newest = *std::max_element(
      recorders.begin(), recorders.end(),
      [](const RunningRecorder& a, const RunningRecorder& b) { return a.started < b.started; });
  std::string request = "save";
  if (!options.output.empty()) {
    // The recorder has another working directory.
    std::error_code error;
    request += " " + fs::absolute(options.output, error).string();
  }
  RCHK_TRY_ASSIGN(const std::string answer, ask_recorder(newest.socket, request));
  constexpr std::string_view kSaved = "saved ", kError = "error ";
  if (answer.starts_with(kSaved)) return answer.substr(kSaved.size());
  return fail(ErrorKind::kMisuse,
              fmt::format("the recorder {} did not save: {}", newest.pid,
                          answer.starts_with(kError) ? answer.substr(kError.size())
                                                     : std::string("it has ended")));
}

}  // namespace

int run_save(const SaveOptions& options) {
  const auto saved = save(options);
  if (!saved) return report(saved.error());
  fmt::print("{}\n", *saved);
  return 0;
}

}  // namespace rchk::cli
