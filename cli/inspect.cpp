// Commands that look at a recording without replaying it.

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <map>

#include "cli/commands.h"
#include "cli/trace_folder.h"
#include "engine/syscalls/syscall.h"
#include "engine/trace/dump.h"
#include "engine/trace/process_table.h"
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

Result<trace::TaskCount> count_tasks(trace::EventSource& source) {
  if (const auto known = source.task_count()) return *known;
  trace::TaskCount count;
  for (uint64_t i = 0; i < source.event_count(); ++i) {
    RCHK_TRY_ASSIGN(const auto event, source.event({i}));
    count.add(*event);
  }
  return count;
}

std::string describe_end(const std::optional<trace::ProcessEnd>& end) {
  if (!end || end->reason == trace::ExitReason::kRecorderStopped) return "-";
  if (end->reason == trace::ExitReason::kExited) return fmt::format("{}", end->status);
  const char* name = sigabbrev_np(end->status);
  return name == nullptr ? fmt::format("signal {}", end->status) : fmt::format("SIG{}", name);
}

// Recordings may be hostile: what could steer a terminal is left out.
std::string command_of(const trace::Program& program) {
  std::string text;
  for (const std::string& word : program.arguments) text += (text.empty() ? "" : " ") + word;
  if (text.empty()) text = program.executable;
  std::replace_if(
      text.begin(), text.end(),
      [](char letter) { return static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f; }, '?');
  return text;
}

Result<int> ps(const std::string& file) {
  RCHK_TRY_ASSIGN(const std::string path, recording_path(file));
  RCHK_TRY_ASSIGN(const auto reader, trace::TraceReader::open(path));
  RCHK_TRY_ASSIGN(const trace::ProcessTable table, trace::ProcessTable::of(*reader));
  constexpr const char* kLine = "{:>7} {:>7} {:>8} {:>9} {:>7}  {}\n";
  fmt::print(kLine, "pid", "parent", "exit", "events", "threads", "program");
  for (const trace::Process& process : table.processes()) {
    const std::string parent =
        process.parent ? fmt::format("{}", table.process(*process.parent).pid) : "-";
    std::string command;
    for (const trace::Program& program : process.programs) {
      command += (command.empty() ? "" : ", then ") + command_of(program);
    }
    if (command.empty()) {
      const bool forked = process.origin == trace::ProcessOrigin::kFork;
      command = forked ? "(forked; no program of its own)" : "(vfork; no program of its own)";
    }
    fmt::print(kLine, process.pid, parent, describe_end(process.end), process.events, process.tasks,
               command);
  }
  if (!reader->is_complete()) fmt::print(stderr, "rchk: {}\n", reader->torn_tail_note());
  return 0;
}

Result<void> describe_snapshots(trace::TraceReader& reader) {
  trace::SnapshotSource* const snapshots = reader.snapshots();
  if (snapshots == nullptr || snapshots->marks().empty()) return {};
  const auto count = static_cast<uint32_t>(snapshots->marks().size());
  std::vector<uint64_t> pauses_ns;
  uint64_t pages = 0;
  for (trace::SnapshotNumber number; number.value < count; ++number.value) {
    RCHK_TRY_ASSIGN(const auto taken, snapshots->snapshot(number));
    RCHK_TRY_ASSIGN(const auto changes, snapshots->changes(number));
    pauses_ns.push_back(taken->pause_ns);
    pages += changes.size();
  }
  std::sort(pauses_ns.begin(), pauses_ns.end());
  const auto ms = [](uint64_t ns) { return static_cast<double>(ns) / 1e6; };
  fmt::print("page snapshots {} ({} pages, {} bytes, {} a page)\n", count, pages,
             reader.snapshots_stored_bytes(),
             reader.snapshots_stored_bytes() / std::max<uint64_t>(pages, 1));
  fmt::print("               pauses of {:.2f} ms in the middle, {:.2f} ms at most\n",
             ms(pauses_ns[count / 2]), ms(pauses_ns.back()));
  return {};
}

// Points where a replay of all processes can begin.
Result<void> describe_beginnings(trace::TraceReader& reader) {
  trace::SnapshotSource* const snapshots = reader.snapshots();
  if (snapshots == nullptr || snapshots->beginnings().empty()) return {};
  std::vector<EventNumber> places{{0}};
  places.insert(places.end(), snapshots->beginnings().begin(), snapshots->beginnings().end());
  places.push_back({reader.event_count() - 1});
  uint64_t last_ns = 0, longest_ns = 0;
  for (const EventNumber place : places) {
    const EventNumber there{std::min(place.value, reader.event_count() - 1)};
    RCHK_TRY_ASSIGN(const auto event, reader.event(there));
    if (place != places.front()) longest_ns = std::max(longest_ns, event->time_ns - last_ns);
    last_ns = event->time_ns;
  }
  fmt::print("beginnings     {} of all processes, {:.1f} s apart at most\n",
             snapshots->beginnings().size(), static_cast<double>(longest_ns) / 1e9);
  return {};
}

void describe_bookmarks(const trace::TraceReader& reader) {
  std::map<std::pair<std::string, int32_t>, trace::Bookmark> latest;
  for (const trace::Bookmark& mark : reader.bookmarks()) {
    latest[{mark.name, mark.process}] = mark;
  }
  for (const auto& [key, mark] : latest) {
    fmt::print("bookmark       {} (process {}, behind event {})\n", mark.name, mark.process,
               mark.event);
  }
}

// What of the file is a hole.
std::string hole_text(const trace::TraceReader& reader) {
  const uint64_t hole = reader.dropped_bytes();
  return hole == 0 ? std::string() : fmt::format(", {} of them a hole", hole);
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
  fmt::print("recording      {} ({} bytes{})\n", path, std::filesystem::file_size(path, error),
             hole_text(*reader));
  fmt::print("command        {}\n", command);
  fmt::print("folder         {}\n", facts.working_directory);
  fmt::print("made           {} on {}, kernel {}, by rchk {}\n", describe_time(facts.start_unix_ns),
             facts.hostname, facts.kernel_release, facts.rchk_version);
  RCHK_TRY_ASSIGN(const trace::TaskCount tasks, count_tasks(*reader));
  fmt::print("processes      {}, with {} threads\n", tasks.processes, tasks.tasks);
  fmt::print("events         {}\n", reader->event_count());
  const auto dropped = reader->dropped();
  if (dropped) {
    fmt::print("dropped        {} events in front of them, the first {:.3f} s\n", dropped->events,
               static_cast<double>(dropped->time_ns) / 1e9);
    fmt::print("kept since     {}\n",
               describe_time(facts.start_unix_ns + static_cast<int64_t>(dropped->time_ns)));
  }
  if (reader->event_count() > 0) {
    RCHK_TRY_ASSIGN(const auto last, reader->event({reader->event_count() - 1}));
    const uint64_t begun_ns = dropped ? dropped->time_ns : 0;
    fmt::print("duration       {:.3f} s\n", static_cast<double>(last->time_ns - begun_ns) / 1e9);
    fmt::print("ends with      {}\n",
               trace::describe({reader->event_count() - 1}, *last, syscall_name));
  }
  RCHK_TRY(describe_snapshots(*reader));
  RCHK_TRY(describe_beginnings(*reader));
  describe_bookmarks(*reader);
  fmt::print("files inside   {} ({} bytes, {} unpacked)\n", reader->files().size(),
             reader->file_contents_stored_bytes(), embedded);
  for (const trace::FileInfo& item : reader->files()) {
    fmt::print("               {} ({} bytes)\n", item.path, item.size_bytes);
  }
  if (!reader->is_complete()) fmt::print("incomplete     {}\n", reader->torn_tail_note());
  return 0;
}

Result<int> dump(const DumpOptions& options) {
  RCHK_TRY_ASSIGN(const std::string path, recording_path(options.file));
  RCHK_TRY_ASSIGN(const auto reader, trace::TraceReader::open(path));
  trace::EventSource* source = reader.get();
  ChosenProcess chosen;
  if (options.process.is_made()) {
    RCHK_TRY_ASSIGN(chosen, choose_process(*reader, options.process));
    source = chosen.source;
  }
  const uint64_t total = source->event_count();
  const uint64_t behind = total - std::min(options.from, total);
  const uint64_t count = std::min(options.count.value_or(behind), behind);
  for (EventNumber number{options.from}; number.value < options.from + count;
       number = number.next()) {
    RCHK_TRY_ASSIGN(const auto event, source->event(number));
    const EventNumber shown = source->global_number(number);
    if (options.detailed) {
      fmt::print("{}", trace::describe_in_detail(shown, *event, syscall_name));
    } else {
      fmt::print("{}\n", trace::describe(shown, *event, syscall_name));
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

int run_dump(const DumpOptions& options) {
  const auto result = dump(options);
  return result ? *result : report(result.error());
}

int run_ps(const std::string& file) {
  const auto result = ps(file);
  return result ? *result : report(result.error());
}

}  // namespace rchk::cli
