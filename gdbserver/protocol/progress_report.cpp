#include "gdbserver/protocol/progress_report.h"

#include <algorithm>

#include <fmt/format.h>

namespace rchk::protocol {

namespace {

constexpr std::chrono::seconds kFirstLine(3);
// Of which three fit into gdb's time-out.
constexpr std::chrono::milliseconds kSigns(600);

}  // namespace

void ProgressReport::begin(Wait wait) {
  wait_ = wait;
  begin_ = now_();
  next_line_ = begin_ + kFirstLine;
  next_sign_ = begin_ + kSigns;
}

void ProgressReport::tell(const Progress::Words& words) {
  const Clock::time_point now = now_();
  // A debugger that is gone is found out about by the next read.
  if (wait_ != Wait::kAnswer && now >= next_line_) {
    const bool is_first = next_line_ == begin_ + kFirstLine;
    const char* const advice = is_first && wait_ == Wait::kStop ? "; ^C stops it" : "";
    (void)stream_.send_console(fmt::format("rchk: {}{}\n", words(), advice));
    // The longer it has taken, the longer the user is likely to wait.
    next_line_ = now + std::max<Clock::duration>(kFirstLine, (now - begin_) / 2);
    next_sign_ = now + kSigns;
  }
  if (wait_ != Wait::kStop && keeps_waiting_ && now >= next_sign_) {
    (void)stream_.send_sign_of_life();
    next_sign_ = now + kSigns;
  }
}

}  // namespace rchk::protocol
