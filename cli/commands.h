#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/choose_process.h"

namespace rchk::cli {

// rchk's own exit statuses; everything else is the guest's.
enum ExitStatus : int {
  kMisuseStatus = 2,
  kBadRecordingStatus = 3,
  kDivergenceStatus = 4,
  kMachineStatus = 5,
  kInternalStatus = 70,  // EX_SOFTWARE of sysexits.h
};

// Prints an error to standard error and returns the exit status that stands for it.
int report(const Error& error);

struct LiveOptions {
  std::vector<std::string> program;
  std::string output;  // the recording; empty: a new one in the default folder
  std::optional<std::string> standard_input, standard_output, standard_error;
  std::optional<uint16_t> port;  // serve there instead of on standard input
  bool gdb = false;              // start gdb even where stdin is no terminal
  bool log_packets = false;
};
// `rchk PROG`: serves a debugger on standard input, or starts one.
int run_live(const LiveOptions& options, const std::string& self);

struct RecordOptions {
  std::vector<std::string> program;
  std::string output;
  std::string chaos;  // random choices of the scheduler: "random", or their seed; empty: none
  std::optional<uint32_t> checksums_ms;             // time between checksums of memory; 0 for none
  std::optional<double> snapshot_overhead_percent;  // that page snapshots may cost; 0 for none
  std::optional<double> snapshot_disk_megabytes;    // a second, for those of one process; 0 for any
  std::optional<uint32_t> snapshots_ms;             // at least so much time between them
  std::string dirty_tracker;   // that tells what changed; empty: the best that works
  uint32_t agent_after = 200;  // calls that read the clock; 0: at once
  bool no_agent = false;
  std::string keep;  // of its history: a time or a size; empty: everything
};
int run_record(const RecordOptions& options);

struct SaveOptions {
  std::string recorder;  // its pid, its program's, or its recording; empty: the newest
  std::string output;
};
// Has a recorder that runs save what it has by now.
int run_save(const SaveOptions& options);

struct ReplayOptions {
  std::string file;
  ProcessChoice process;
  bool autopilot = false;
  std::optional<uint32_t> jobs;  // autopilot: processes that replay; else one for each core
  bool stdio = false;
  std::optional<uint16_t> port;
  std::optional<uint32_t> search_jobs;  // processes that search back; else one for each core
  std::vector<std::string> gdb_arguments;
  bool log_packets = false;
};
int run_replay(const ReplayOptions& options, const std::string& self);

struct VerifyOptions {
  std::string file;
  bool restore = false;          // every page snapshot as well, and compare all memory
  std::optional<uint32_t> jobs;  // processes that replay; else one for each core
};
int run_verify(const VerifyOptions& options);
int run_info(const std::string& file);

struct DumpOptions {
  std::string file;
  ProcessChoice process;
  bool detailed = false;
  uint64_t from = 0;
  std::optional<uint64_t> count;
};
int run_dump(const DumpOptions& options);
// Lists a recording's processes.
int run_ps(const std::string& file);
int run_doctor();

}  // namespace rchk::cli
