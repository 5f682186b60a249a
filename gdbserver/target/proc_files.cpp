#include "gdbserver/target/proc_files.h"

#include <algorithm>

#include <fmt/format.h>

namespace rchk::target {

std::string maps_text(const snapshot::AddressSpace& space) {
  std::string text;
  for (const auto& [begin, mapping] : space.mappings()) {
    const uint64_t offset = mapping.backing ? mapping.backing->offset_bytes : 0;
    std::string line = fmt::format("{:x}-{:x} {}{}{}{} {:08x} 00:00 0", mapping.range.begin.value,
                                   mapping.range.end.value, mapping.readable() ? 'r' : '-',
                                   mapping.writable() ? 'w' : '-', mapping.executable() ? 'x' : '-',
                                   mapping.shared ? 's' : 'p', offset);
    constexpr size_t kNameColumn = 73;
    if (!mapping.name.empty()) {
      line.resize(std::max(line.size() + 1, kNameColumn), ' ');
      line += mapping.name;
    }
    text += line + "\n";
  }
  return text;
}

}  // namespace rchk::target
