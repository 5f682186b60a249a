#include "snapshot/memory_cost.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string>

#include <unistd.h>

namespace rchk::snapshot {
namespace {

// The bytes in a line "Name:   123 kB"; 0 when there is none.
uint64_t line_bytes(std::string_view text, std::string_view name) {
  const std::string wanted = fmt::format("\n{}:", name);
  size_t at = text.find(wanted);
  if (at == std::string_view::npos) {
    if (!text.starts_with(std::string_view(wanted).substr(1))) return 0;
    at = wanted.size() - 1;
  } else {
    at += wanted.size();
  }
  at = text.find_first_not_of(" \t", at);
  if (at == std::string_view::npos) return 0;
  uint64_t kilobytes = 0;
  std::from_chars(text.data() + at, text.data() + text.size(), kilobytes);
  return kilobytes * 1024;
}

// Empty when it cannot be read.
std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

ForkCost parse_fork_cost(std::string_view smaps_rollup, std::string_view status) {
  ForkCost cost;
  cost.page_table_bytes = line_bytes(status, "VmPTE");
  cost.at_most_bytes = line_bytes(smaps_rollup, "Anonymous") + line_bytes(smaps_rollup, "Swap");
  // Clean private pages of files cost nothing: the page cache holds them anyway.
  cost.exclusive_bytes = line_bytes(smaps_rollup, "Private_Dirty") + line_bytes(status, "VmPTE");
  return cost;
}

Result<ForkCost> fork_cost(int pid) {
  const std::string rollup = read_text(fmt::format("/proc/{}/smaps_rollup", pid));
  const std::string status = read_text(fmt::format("/proc/{}/status", pid));
  if (rollup.empty() || status.empty()) {
    return fail_errno(fmt::format("reading the memory figures of process {}", pid), ESRCH);
  }
  return parse_fork_cost(rollup, status);
}

uint64_t minor_faults(int pid) {
  const std::string stat = read_text(fmt::format("/proc/{}/stat", pid));
  // The name, in brackets, may hold anything. Behind it: state ppid pgrp session tty_nr tpgid
  // flags minflt.
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < 7; ++i) fields >> skipped;
  uint64_t faults = 0;
  fields >> faults;
  return faults;
}

uint64_t private_pages(int pid) {
  std::istringstream fields(read_text(fmt::format("/proc/{}/statm", pid)));
  uint64_t size = 0, resident = 0, of_files = 0;
  fields >> size >> resident >> of_files;
  return resident - std::min(resident, of_files);
}

uint64_t usable_memory_bytes() {
  const uint64_t machine =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  // Control group v2, as a container sees its own (Documentation/admin-guide/cgroup-v2.rst);
  // "max" is no number.
  const std::string limit = read_text("/sys/fs/cgroup/memory.max");
  uint64_t group = 0;
  const auto [end, error] = std::from_chars(limit.data(), limit.data() + limit.size(), group);
  return error == std::errc() && group > 0 ? std::min(machine, group) : machine;
}

}  // namespace rchk::snapshot
