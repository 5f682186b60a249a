#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "engine/trace/event.h"

namespace rchk::trace {

// Makes events with values that are as odd as an event may hold.
class RandomEvents {
 public:
  explicit RandomEvents(uint64_t seed) : random_(seed) {}

  uint64_t below(uint64_t limit) { return random_() % limit; }
  bool coin() { return below(2) == 0; }

  // A number of any magnitude.
  uint64_t number() { return random_() >> below(64); }

  Bytes bytes(uint64_t limit) {
    Bytes out(below(limit + 1));
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(random_());
    return out;
  }
  std::string text(uint64_t limit) {
    const Bytes letters = bytes(limit);
    return {letters.begin(), letters.end()};
  }

  Registers registers() {
    if (coin()) return last_;
    Registers fresh = last_;
#define RCHK_REGISTER(name) \
  if (below(4) == 0) fresh.name = number();
#include "base/registers.def"
#undef RCHK_REGISTER
    return last_ = fresh;
  }

  AddressRange pages() {
    return range_of({below(uint64_t{1} << 35) * kPageSize}, below(1000) * kPageSize);
  }
  Mapping mapping() {
    Mapping out;
    out.range = pages();
    out.protection = static_cast<uint8_t>(below(8));
    out.shared = coin();
    out.grows_down = coin();
    if (coin()) out.backing = FileBacking{{static_cast<uint32_t>(number())}, number() >> 16};
    out.name = text(30);
    return out;
  }
  AddressSpaceChange change() {
    switch (below(5)) {
      case 0:
        return MapChange{mapping()};
      case 1:
        return UnmapChange{pages()};
      case 2:
        return ProtectChange{pages(), static_cast<uint8_t>(below(8))};
      case 3:
        return RemapChange{pages(), pages(), coin()};
      default:
        return DiscardChange{pages()};
    }
  }
  Place place() { return static_cast<Place>(below(4)); }
  MemoryWrite write() { return {{number() >> 1}, bytes(300)}; }
  PageContents page() {
    return {{below(uint64_t{1} << 40) * kPageSize},
            Bytes(kPageSize, static_cast<uint8_t>(below(256)))};
  }
  MemoryChecksum checksum() { return {range_of({number() >> 1}, number() >> 1), number()}; }

  template <typename Make>
  auto list(uint64_t limit, Make make) {
    std::vector<decltype(make())> out;
    for (uint64_t count = below(limit + 1); count > 0; --count) out.push_back(make());
    return out;
  }

  EventBody body(uint64_t kind) {
    switch (kind) {
      case 0:
        return ExecEvent{text(40),
                         list(5, [&] { return mapping(); }),
                         list(3, [&] { return write(); }),
                         registers(),
                         bytes(900),
                         bytes(300),
                         {number()},
                         static_cast<int32_t>(number()),
                         number()};
      case 1: {
        SyscallEvent event;
        event.before = registers();
        event.number =
            coin() ? static_cast<int32_t>(event.before.rax) : static_cast<int32_t>(number());
        event.after = registers();
        event.changes = list(3, [&] { return change(); });
        event.writes = list(3, [&] { return write(); });
        event.output = static_cast<OutputStream>(below(3));
        event.output_bytes = bytes(50);
        if (coin()) event.extended_state = bytes(1000);
        return event;
      }
      case 2:
        return TrapEvent{static_cast<TrappedInstruction>(below(3)), registers(), registers()};
      case 3: {
        SignalEvent event;
        event.number = static_cast<int32_t>(below(65));
        event.siginfo = bytes(128);
        event.place = place();
        event.fatal = coin();
        event.registers = registers();
        event.extended_state = bytes(1000);
        event.dirty = list(2, [&] { return page(); });
        event.checksums = list(2, [&] { return checksum(); });
        if (coin()) {
          event.handler = HandlerEntry{registers(), bytes(1000), list(2, [&] { return write(); })};
        }
        return event;
      }
      case 4:
        return ChecksumEvent{registers(), list(4, [&] { return checksum(); })};
      case 5:
        return SwitchEvent{static_cast<Place>(below(5)), registers(), bytes(1000),
                           list(2, [&] { return page(); }), list(2, [&] { return checksum(); })};
      case 6:
        return SpawnEvent{{static_cast<int32_t>(number())},
                          static_cast<uint32_t>(number()),
                          static_cast<int32_t>(number()),
                          static_cast<SpawnKind>(below(3)),
                          registers(),
                          list(2, [&] { return write(); })};
      case 7:
        return TaskEndEvent{place(), static_cast<int32_t>(number()), registers(),
                            list(2, [&] { return write(); })};
      case 8:
        return MemoryEvent{list(2, [&] { return change(); }), list(2, [&] { return write(); })};
      default:
        return ExitEvent{static_cast<ExitReason>(below(3)),
                         static_cast<int32_t>(number()),
                         coin(),
                         text(30),
                         registers(),
                         list(4, [&] { return checksum(); }),
                         static_cast<ExitPlace>(below(3))};
    }
  }

  Event event() {
    time_ns_ += number() >> 20;
    if (coin()) tid_ = {static_cast<int32_t>(number())};
    if (coin()) space_ = static_cast<uint32_t>(number());
    return {time_ns_, body(below(std::variant_size_v<EventBody>)), tid_, space_};
  }

  RecordingInfo info() {
    RecordingInfo out;
    out.rchk_version = text(10);
    out.kernel_release = text(10);
    out.hostname = text(10);
    out.start_unix_ns = static_cast<int64_t>(number());
    out.arguments = list(4, [&] { return text(10); });
    out.environment = list(4, [&] { return text(10); });
    out.working_directory = text(20);
    out.pid = static_cast<int32_t>(number());
    out.xcr0 = number();
    out.processor_id = static_cast<uint32_t>(number());
    out.cpuid_trapped = coin();
    out.tsc_trapped = coin();
    out.cpuid = list(9, [&] {
      const auto word = [&] { return static_cast<uint32_t>(random_()); };
      return CpuidLeaf{word(), word(), word(), word(), word(), word()};
    });
    return out;
  }

 private:
  std::mt19937_64 random_;
  Registers last_;
  uint64_t time_ns_ = 0;
  Tid tid_;
  uint32_t space_ = 0;
};

inline bool same_info(const RecordingInfo& a, const RecordingInfo& b) {
  return a.rchk_version == b.rchk_version && a.kernel_release == b.kernel_release &&
         a.hostname == b.hostname && a.start_unix_ns == b.start_unix_ns &&
         a.arguments == b.arguments && a.environment == b.environment &&
         a.working_directory == b.working_directory && a.pid == b.pid && a.xcr0 == b.xcr0 &&
         a.processor_id == b.processor_id && a.cpuid_trapped == b.cpuid_trapped &&
         a.tsc_trapped == b.tsc_trapped && a.cpuid == b.cpuid;
}

}  // namespace rchk::trace
