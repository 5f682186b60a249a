#include "cli/trace_folder.h"

#include <cstdlib>
#include <filesystem>

namespace rchk::cli {

namespace fs = std::filesystem;

namespace {
constexpr const char* kExtension = ".rchk";
}  // namespace

Result<std::string> trace_folder() {
  if (const char* folder = std::getenv("RCHK_TRACE_DIR"); folder != nullptr && *folder != '\0') {
    return std::string(folder);
  }
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') {
    return fail(ErrorKind::kMisuse,
                "there is no place for recordings: set RCHK_TRACE_DIR, or name a file with -o");
  }
  return std::string(home) + "/.local/share/rchk";
}

Result<std::string> new_recording_path(const std::string& program) {
  RCHK_TRY_ASSIGN(const std::string folder, trace_folder());
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    return Failure(Error{ErrorKind::kMisuse, error.value(),
                         fmt::format("{}, the folder for recordings (set RCHK_TRACE_DIR, or name a "
                                     "file with -o)",
                                     folder)});
  }
  const std::string name = fs::path(program).filename().string();
  for (unsigned number = 0;; ++number) {
    const std::string path = fmt::format("{}/{}-{}{}", folder, name, number, kExtension);
    if (!fs::exists(path, error)) return path;
  }
}

Result<std::string> recording_path(const std::string& file) {
  if (!file.empty()) return file;
  RCHK_TRY_ASSIGN(const std::string folder, trace_folder());
  std::string newest;
  fs::file_time_type newest_time;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() != kExtension) continue;
    const fs::file_time_type time = entry.last_write_time(error);
    if (error || (!newest.empty() && time <= newest_time)) continue;
    newest = entry.path().string();
    newest_time = time;
  }
  if (newest.empty()) {
    return fail(ErrorKind::kMisuse,
                fmt::format("there is no recording in {}; make one with `rchk record PROGRAM`, "
                            "or name a file",
                            folder));
  }
  return newest;
}

}  // namespace rchk::cli
