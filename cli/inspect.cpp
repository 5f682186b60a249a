// Commands that look at a recording without replaying it.

#include <array>
#include <cstdio>
#include <ctime>
#include <filesystem>

#include "cli/commands.h"
#include "cli/trace_folder.h"
#include "engine/syscalls/syscall.h"
#include "engine/trace/dump.h"
#include "engine/trace/reader.h"

namespace rchk::cli {

namespace {

std::string syscall_name(int number) { return std::string(syscalls::name(number)); }

std::string describe_time(int64_t unix_ns) {
  const std::time_t seconds = unix_ns / 1'000'000'000;
  std::tm local{};
  localtime_r(&seconds, &local);
  std::array<char, 64> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S %z", &local);
  return text.data();
}

Result<int> info(const std::string& file) {
  RCHK_TRY_ASSIGN(const std::string path, recording_path(file));
  RCHK_TRY_ASSIGN(const auto reader, trace::TraceReader::open(path));
  const trace::RecordingInfo& facts = reader->info();
  std::string command;
  for (const std::string& word : facts.arguments) command += (command.empty() ? "" : " ") + word;
  uint64_t embedded = 0;
  for (const trace::FileInfo& item : reader->files()) embedded += item.size_bytes;
  std::error_code error;
  fmt::print("recording      {} ({} bytes)\n", path, std::filesystem::file_size(path, error));
  fmt::print("command        {}\n", command);
  fmt::print("folder         {}\n", facts.working_directory);
  fmt::print("made           {} on {}, kernel {}, by rchk {}\n", describe_time(facts.start_unix_ns),
             facts.hostname, facts.kernel_release, facts.rchk_version);
  fmt::print("process        {}\n", facts.pid);
  fmt::print("events         {}\n", reader->event_count());
  if (reader->event_count() > 0) {
    RCHK_TRY_ASSIGN(const auto last, reader->event({reader->event_count() - 1}));
    fmt::print("duration       {:.3f} s\n", static_cast<double>(last->time_ns) / 1e9);
    fmt::print("ends with      {}\n",
               trace::describe({reader->event_count() - 1}, *last, syscall_name));
  }
  fmt::print("files inside   {} ({} bytes unpacked)\n", reader->files().size(), embedded);
  for (const trace::FileInfo& item : reader->files()) {
    fmt::print("               {} ({} bytes)\n", item.path, item.size_bytes);
  }
  if (!reader->is_complete()) fmt::print("incomplete     {}\n", reader->torn_tail_note());
  return 0;
}

Result<int> dump(const std::string& file, bool detailed, uint64_t from,
                 std::optional<uint64_t> count) {
  RCHK_TRY_ASSIGN(const std::string path, recording_path(file));
  RCHK_TRY_ASSIGN(const auto reader, trace::TraceReader::open(path));
  const uint64_t total = reader->event_count();
  const uint64_t end = count && *count < total - std::min(from, total) ? from + *count : total;
  for (uint64_t i = from; i < end; ++i) {
    RCHK_TRY_ASSIGN(const auto event, reader->event({i}));
    if (detailed) {
      fmt::print("{}", trace::describe_in_detail({i}, *event, syscall_name));
    } else {
      fmt::print("{}\n", trace::describe({i}, *event, syscall_name));
    }
  }
  if (!reader->is_complete()) fmt::print(stderr, "rchk: {}\n", reader->torn_tail_note());
  return 0;
}

}  // namespace

int run_info(const std::string& file) {
  const auto result = info(file);
  return result ? *result : report(result.error());
}

int run_dump(const std::string& file, bool detailed, uint64_t from, std::optional<uint64_t> count) {
  const auto result = dump(file, detailed, from, count);
  return result ? *result : report(result.error());
}

}  // namespace rchk::cli
