#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/descriptors.h"
#include "cli/commands.h"
#include "cli/standard_streams.h"

namespace rchk::cli {
namespace {

constexpr const char* kDescription =
    "rchk records a program at native speed and lets gdb and lldb go backwards in it.\n"
    "\n"
    "  rchk PROGRAM [ARGUMENTS]         debug it in gdb, and go back at any time\n"
    "  gdb -ex 'target remote | rchk PROGRAM [ARGUMENTS]'     the same from within gdb\n"
    "  rchk record PROGRAM [ARGUMENTS]  record it to its end\n"
    "  rchk replay [FILE]               debug a recording in gdb (the newest, without FILE)\n"
    "\n"
    "In gdb: reverse-continue, reverse-step, reverse-next, reverse-finish, and watch for\n"
    "\"who changed this?\": watch VARIABLE, then reverse-continue. `monitor help` tells more.";

constexpr const char* kFooter =
    "Recordings are kept in $RCHK_TRACE_DIR, or ~/.local/share/rchk. Exit statuses of rchk's own:\n"
    "2 misuse, 3 a bad recording, 4 a replay that diverged, 5 the machine lacks something.";

const char* const kCommands[] = {"record", "replay", "save", "verify",
                                 "ps",     "info",   "dump", "doctor"};

std::string own_path(const char* invoked) {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string(invoked) : path.string();
}

// The words of `rchk [record] [OPTIONS] PROGRAM [ARGUMENTS]`. CLI11 would take the program's
// options for ours: all from the program's name on is the program's, and "x" stands for it with
// CLI11.
struct CommandLine {
  std::vector<std::string> own;  // in reverse, as CLI11 wants them
  std::vector<std::string> program;
};

// From argv[first] on. `with_value`: the options of ours whose value is a word of its own.
CommandLine split(int argc, char** argv, int first, const std::set<std::string>& with_value) {
  int end = first;
  while (end < argc && argv[end][0] == '-' && std::string(argv[end]) != "--") {
    end += with_value.count(argv[end]) != 0 ? 2 : 1;
  }
  end = std::min(end, argc);
  CommandLine line;
  line.own.assign(argv + 1, argv + end);
  if (end < argc && std::string(argv[end]) == "--") ++end;
  line.program.assign(argv + end, argv + argc);
  if (!line.program.empty()) line.own.emplace_back("x");
  std::reverse(line.own.begin(), line.own.end());
  return line;
}

// `rchk [OPTIONS] PROGRAM [ARGUMENTS]`.
int live(int argc, char** argv, const std::string& self) {
  CLI::App app{kDescription, "rchk"};
  app.footer(kFooter);
  LiveOptions options;
  app.set_version_flag("--version", std::string("rchk ") + RCHK_VERSION);
  app.add_option("-o,--output", options.output, "The recording's file");
  app.add_option("--stdin", options.standard_input, "The program's standard input");
  app.add_option("--stdout", options.standard_output, "The program's standard output");
  app.add_option("--stderr", options.standard_error, "The program's standard error");
  app.add_option("--port", options.port,
                 "Serve gdb's protocol on this port of 127.0.0.1; 0 chooses one");
  app.add_flag("--gdb", options.gdb, "Start gdb, also where standard input is no terminal");
  app.add_option("program", options.program, "The program and its arguments")->required();
  for (const char* command : kCommands) {
    app.add_subcommand(command, std::string("see `rchk ") + command + " --help`");
  }
  CommandLine line =
      split(argc, argv, 1, {"-o", "--output", "--stdin", "--stdout", "--stderr", "--port"});
  try {
    app.parse(std::move(line.own));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kMisuseStatus;
  }
  options.program = std::move(line.program);
  return run_live(options, self);
}

int command(int argc, char** argv, const std::string& self) {
  CLI::App app{kDescription, "rchk"};
  app.footer(kFooter);
  app.require_subcommand(1);

  RecordOptions record;
  CLI::App* record_command =
      app.add_subcommand("record", "Record a program to its end; exits with its status");
  record_command->add_option("-o,--output", record.output, "The recording's file");
  record_command->add_flag(
      "--chaos{random}", record.chaos,
      "Switch between tasks at random, to bring out races; --chaos=SEED repeats choices");
  record_command->add_option(
      "--checksums", record.checksums_ms,
      "Checksums of memory so many ms apart, whatever they cost; else 5000, at 1 % of the time");
  record_command
      ->add_option(
          "--snapshot-overhead", record.snapshot_overhead_percent,
          "Percent of the time that page snapshots may take, without which a replay of a long "
          "recording always begins at its start; else 5; 0 for none")
      ->check(CLI::Range(0.0, 100.0));
  record_command
      ->add_option("--snapshot-disk", record.snapshot_disk_megabytes,
                   "MB a second that page snapshots of a process may make the recording grow; "
                   "else 1.25; 0 for any. This and what another core does for them keeps them no "
                   "further than 2 s apart, or 10 s where one of the two options is given")
      ->check(CLI::Range(0.0, 1e6));
  record_command->add_option("--snapshots", record.snapshots_ms,
                             "Page snapshots so many ms apart, whatever they cost");
  record_command->add_option(
      "--dirty-tracker", record.dirty_tracker,
      "How page snapshots learn which pages changed: userfaultfd, soft-dirty, exclusive or content "
      "(`rchk doctor` says which of them work here); else the best that works");
  record_command->add_flag(
      "--no-agent", record.no_agent,
      "Stop at each call that reads the clock; else programs that make many get code of rchk's, "
      "which makes them and takes notes");
  record_command
      ->add_option("--agent-after", record.agent_after,
                   "They get it when they have made so many; else 200")
      ->excludes("--no-agent");
  record_command->add_option(
      "--keep", record.keep,
      "Drop history that is older than this (30s, 10min) or takes more than this (500MB, 2GB) "
      "while the program runs");
  record_command->add_option("program", record.program, "The program and its arguments")
      ->required();

  SaveOptions save;
  CLI::App* save_command = app.add_subcommand(
      "save",
      "Save what a running `rchk record` has by now (as SIGUSR1 to it does); prints the file");
  save_command->add_option("-o,--output", save.output,
                           "The file to save to; without it one beside the recording");
  save_command->add_option("recorder", save.recorder,
                           "The recording, or a pid of the recorder or its program; without it the "
                           "recorder that was started last");

  ReplayOptions replay;
  CLI::App* replay_command = app.add_subcommand("replay", "Debug a recording in gdb");
  replay_command->add_flag("-a,--autopilot", replay.autopilot,
                           "No debugger: run to the end, repeating output and exit status");
  replay_command->add_flag("--stdio", replay.stdio,
                           "Serve gdb's protocol on standard input and output");
  replay_command->add_option("--port", replay.port,
                             "Serve gdb's protocol on this port of 127.0.0.1");
  replay_command->add_flag("--log-packets", replay.log_packets, "Show the protocol's packets");
  replay_command->add_option("-p,--process", replay.process.process,
                             "The process to replay, by its pid or its program's name, from that "
                             "program on; without it the first");
  replay_command->add_option("-f,--forked", replay.process.forked,
                             "The same by its pid, from its fork on");
  replay_command
      ->add_option("--search-jobs", replay.search_jobs,
                   "How many processes search back at a time, from the start of a search on; else "
                   "one on each core, once a search takes longer than 0.1 s; 1 for this one alone")
      ->check(CLI::Range(1, 256));
  replay_command
      ->add_option(
          "--jobs", replay.jobs,
          "With -a: how many processes replay at a time, one process of the program from each page "
          "snapshot on, several each by itself; else one on each core, where there is much to do; "
          "1 for this one alone")
      ->check(CLI::Range(1, 256));
  replay_command->add_option("file", replay.file, "The recording; without it the newest");

  std::string file;
  CLI::App* verify_command = app.add_subcommand(
      "verify", "Replay all of a recording with every check; prints events and instructions");
  VerifyOptions verify;
  verify_command->add_flag("--restore", verify.restore,
                           "Restore every page snapshot as well, and compare all memory");
  verify_command
      ->add_option(
          "--jobs", verify.jobs,
          "How many processes replay at a time, one process of the program from each page "
          "snapshot on, several each by itself; else one on each core, where there is much "
          "to do; 1 for this one alone")
      ->check(CLI::Range(1, 256));
  verify_command->add_option("file", verify.file, "The recording; without it the newest");
  CLI::App* info_command = app.add_subcommand("info", "What a recording is of");
  info_command->add_option("file", file, "The recording; without it the newest");

  CLI::App* ps_command = app.add_subcommand("ps", "The processes of a recording");
  ps_command->add_option("file", file, "The recording; without it the newest");

  DumpOptions dump;
  CLI::App* dump_command = app.add_subcommand("dump", "List a recording's events");
  dump_command->add_flag("-d,--detail", dump.detailed, "Registers, mappings and bytes of each");
  dump_command->add_option("--from", dump.from, "The first event to show");
  dump_command->add_option("--count", dump.count, "How many events to show");
  dump_command->add_option("-p,--process", dump.process.process,
                           "Only those that a replay of this process takes: a pid, or a program");
  dump_command->add_option("file", dump.file, "The recording; without it the newest");

  CLI::App* doctor_command =
      app.add_subcommand("doctor", "What this machine offers, and what is lost without it");

  CommandLine line;
  if (std::string(argv[1]) == "record") {
    line = split(argc, argv, 2,
                 {"-o", "--output", "--checksums", "--snapshot-overhead", "--snapshots",
                  "--dirty-tracker", "--keep", "--agent-after"});
  } else {
    line.own.assign(std::reverse_iterator(argv + argc), std::reverse_iterator(argv + 1));
  }
  try {
    app.parse(std::move(line.own));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kMisuseStatus;
  }
  if (*record_command) {
    record.program = std::move(line.program);
    return run_record(record);
  }
  if (*save_command) return run_save(save);
  if (*replay_command) return run_replay(replay, self);
  if (*verify_command) return run_verify(verify);
  if (*info_command) return run_info(file);
  if (*ps_command) return run_ps(file);
  if (*dump_command) return run_dump(dump);
  if (*doctor_command) return run_doctor();
  return kMisuseStatus;
}

}  // namespace
}  // namespace rchk::cli

int main(int argc, char** argv) {
  using namespace rchk::cli;
  fill_standard_streams();
  rchk::take_descriptors();
  const std::string self = own_path(argv[0]);
  const bool is_command =
      argc > 1 && std::any_of(std::begin(kCommands), std::end(kCommands),
                              [&](const char* name) { return std::string(argv[1]) == name; });
  return is_command ? command(argc, argv, self) : live(argc, argv, self);
}
