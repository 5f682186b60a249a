#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "gdbserver/protocol/framing.h"

namespace rchk::protocol {

// What E.. replies say: errno numbers, as far as there is a fitting one. Debuggers show them and
// look no further.
enum class PacketError : uint8_t {
  kFailed = 0x01,     // the target could not
  kNoThread = 0x03,   // ESRCH
  kBadMemory = 0x0e,  // EFAULT
  kMalformed = 0x16,  // EINVAL
};

// The reply to one packet, built in place. As long as nothing is said it is the empty reply, which
// means: unknown packet.
class Reply {
 public:
  void clear() {
    contents_.clear();
    encoding_ = Encoding::kText;
    suppressed_ = false;
  }

  void ok() { contents_ = "OK"; }
  void error(PacketError error);
  // To append to. What is not letters and digits must be such that no escape is needed.
  std::string& text() { return contents_; }
  // To append to by append_escaped().
  std::string& binary() {
    encoding_ = Encoding::kBinary;
    return contents_;
  }
  // Nothing at all is sent, not even the empty reply.
  void suppress() { suppressed_ = true; }

  const std::string& contents() const { return contents_; }
  Encoding encoding() const { return encoding_; }
  bool suppressed() const { return suppressed_; }

 private:
  std::string contents_;
  Encoding encoding_ = Encoding::kText;
  bool suppressed_ = false;
};

}  // namespace rchk::protocol
