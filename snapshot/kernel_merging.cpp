#include "snapshot/kernel_merging.h"

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>

#include <fmt/format.h>

namespace rchk::snapshot {
namespace {

// A number in a file of /proc or /sys; nothing when there is no such file or it may not be read.
std::optional<uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  uint64_t number = 0;
  if (!(file >> number)) return std::nullopt;
  return number;
}

}  // namespace

bool may_be_merged(int pid, bool zero_pages_known) {
  const std::string ksm = "/sys/kernel/mm/ksm/";
  if (!number_in(ksm + "run")) return false;
  if (!zero_pages_known && number_in(ksm + "use_zero_pages").value_or(0) != 0) return true;
  const auto merged = number_in(fmt::format("/proc/{}/ksm_merging_pages", pid));
  return merged.value_or(number_in(ksm + "pages_shared").value_or(0)) != 0;
}

}  // namespace rchk::snapshot
