#pragma once

#include <string>

namespace rchk {

// What trying one feature of this machine showed. Found by using the feature in a helper process
// and looking at the outcome, never by a version check.
struct ProbeResult {
  std::string name;  // the feature, for example "cpuid faulting"
  bool works = false;
  std::string detail;  // what was seen; for a feature that does not work, why
  std::string lost;    // what rchk cannot do without it
  std::string remedy;  // what the user may change, or empty

  bool operator==(const ProbeResult&) const = default;
};

}  // namespace rchk
