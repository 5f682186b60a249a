#include "cli/keep_option.h"

#include <charconv>
#include <cmath>
#include <iterator>

namespace rchk::cli {

namespace {

struct Unit {
  const char* name;
  double factor;
};
constexpr Unit kTimes[] = {{"ms", 1e6}, {"s", 1e9}, {"min", 60e9}, {"m", 60e9}, {"h", 3600e9}};
constexpr Unit kSizes[] = {{"kB", 1e3},     {"KB", 1e3}, {"KiB", 0x1p10}, {"MB", 1e6},
                           {"MiB", 0x1p20}, {"GB", 1e9}, {"GiB", 0x1p30}, {"TB", 1e12}};

const Unit* find(const Unit* begin, const Unit* end, const std::string& name) {
  for (const Unit* unit = begin; unit != end; ++unit) {
    if (unit->name == name) return unit;
  }
  return nullptr;
}

}  // namespace

Result<trace::Keep> parse_keep(const std::string& text) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  const std::string name(parsed.ptr, end);
  const bool is_number = parsed.ec == std::errc() && std::isfinite(number) && number > 0;
  const Unit* const time = find(std::begin(kTimes), std::end(kTimes), name);
  const Unit* const size = find(std::begin(kSizes), std::end(kSizes), name);
  const Unit* const unit = time != nullptr ? time : size;
  // What is beyond would be kept for longer than any machine runs.
  constexpr double kMost = 0x1p62;
  trace::Keep keep;
  if (is_number && unit != nullptr && number * unit->factor >= 1 && number * unit->factor < kMost) {
    const auto amount = static_cast<uint64_t>(number * unit->factor);
    if (time != nullptr) keep.duration = std::chrono::nanoseconds(amount);
    if (size != nullptr) keep.size_bytes = amount;
    return keep;
  }
  return fail(
      ErrorKind::kMisuse,
      fmt::format("--keep={}: is to be a time (30s, 10min, 2h) or a size (500MB, 2GB)", text));
}

}  // namespace rchk::cli
