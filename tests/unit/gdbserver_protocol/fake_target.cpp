#include "fake_target.h"

#include <algorithm>
#include <csignal>
#include <cstring>

namespace rchk::protocol::testing {
namespace {

using target::StopPointKind;

constexpr uint8_t kCode[] = {
    0x48, 0xc7, 0xc1, 0x05, 0x00, 0x00, 0x00,        // mov $5,%rcx
    0x48, 0xff, 0xc0,                                // inc %rax
    0x48, 0x89, 0x04, 0x25, 0x00, 0x20, 0x40, 0x00,  // mov %rax,0x402000
    0x48, 0xff, 0xc9,                                // dec %rcx
    0x75, 0xf0,                                      // jne 0x401007
    0x0f, 0x05,                                      // syscall
    0xeb, 0xfe,                                      // jmp .
};
constexpr uint64_t kZeroFlag = 0x40;
constexpr GuestAddress kStack{0x7ffe0000};
constexpr size_t kStackBytes = 0x1000;

}  // namespace

FakeTarget::FakeTarget() {
  State first;
  first.registers.rip = kStart.value;
  first.registers.rsp = kStack.value + 0x800;
  first.registers.rbp = kStack.value + 0x900;
  first.registers.rflags = 0x202;
  first.registers.cs = 0x33;
  first.registers.ss = 0x2b;
  history_.push_back(first);
  last_event_ = target::SignalStop{SIGTRAP};
  other_registers_.rip = 0x401100;
  layout = target::XsaveLayout{};
  extended.assign(576, 0);
}

uint64_t FakeTarget::stored() const {
  uint64_t value = 0;
  std::memcpy(&value, now().data.data(), sizeof(value));
  return value;
}

Result<Registers> FakeTarget::read_registers(Tid thread) {
  if (thread == kMain || thread == pid) return now().registers;
  if (thread == kOther) return other_registers_;
  return fail(ErrorKind::kGone, "no such thread");
}

Result<void> FakeTarget::write_registers(Tid thread, const Registers& registers) {
  if (thread == kMain || thread == pid) {
    history_.resize(position_ + 1);
    history_[position_].registers = registers;
  } else {
    other_registers_ = registers;
  }
  return {};
}

Result<ExtendedState> FakeTarget::read_extended_state(Tid) { return extended; }

Result<void> FakeTarget::write_extended_state(Tid, const ExtendedState& state) {
  extended = state;
  return {};
}

size_t FakeTarget::read_memory(GuestAddress address, std::span<uint8_t> bytes) {
  size_t count = 0;
  for (; count < bytes.size(); ++count) {
    const GuestAddress at = address + count;
    if (range_of(kStart, sizeof(kCode)).contains(at)) {
      bytes[count] = kCode[at - kStart];
    } else if (range_of(kData, now().data.size()).contains(at)) {
      bytes[count] = now().data[at - kData];
    } else if (range_of(kStart, kPageSize).contains(at) ||
               range_of(kStack, kStackBytes).contains(at)) {
      bytes[count] = 0;
    } else {
      break;
    }
  }
  return count;
}

Result<void> FakeTarget::write_memory(GuestAddress address, ByteView bytes) {
  if (!range_of(kData, now().data.size()).contains(range_of(address, bytes.size()))) {
    return fail(ErrorKind::kMisuse, "not mapped");
  }
  history_.resize(position_ + 1);
  std::copy(bytes.begin(), bytes.end(),
            history_[position_].data.begin() + static_cast<ptrdiff_t>(address - kData));
  return {};
}

Result<void> FakeTarget::insert(const target::StopPoint& point) {
  if (point.kind == StopPointKind::kReadWatchpoint || insert_fails) {
    return fail(ErrorKind::kUnsupported, "no read watchpoints");
  }
  RCHK_TRY(remove(point.kind, point.range));
  points.push_back(point);
  return {};
}

Result<void> FakeTarget::remove(StopPointKind kind, AddressRange range) {
  std::erase_if(
      points, [&](const target::StopPoint& one) { return one.kind == kind && one.range == range; });
  return {};
}

FakeTarget::State FakeTarget::next_state() const {
  State next = now();
  Registers& registers = next.registers;
  if (now().registers.pc() == kStart) {
    registers.rcx = 5;
    registers.rip = kLoop.value;
  } else if (now().registers.pc() == kLoop) {
    ++registers.rax;
    registers.rip = kStore.value;
  } else if (now().registers.pc() == kStore) {
    std::memcpy(next.data.data(), &registers.rax, sizeof(registers.rax));
    registers.rip = kDec.value;
  } else if (now().registers.pc() == kDec) {
    --registers.rcx;
    registers.rflags =
        registers.rcx == 0 ? registers.rflags | kZeroFlag : registers.rflags & ~kZeroFlag;
    registers.rip = kJne.value;
  } else if (now().registers.pc() == kJne) {
    registers.rip = (registers.rflags & kZeroFlag) != 0 ? kExit.value : kLoop.value;
  }
  return next;
}

bool FakeTarget::step_forward() {
  if (now().registers.pc() == kExit) return false;
  if (position_ + 1 == history_.size()) history_.push_back(next_state());
  ++position_;
  return true;
}

std::optional<target::StopEvent> FakeTarget::hit(const State& before) const {
  class View : public target::MachineView {
   public:
    explicit View(const State& state) : state_(state) {}
    const Registers& registers() const override { return state_.registers; }
    size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) const override {
      if (!range_of(kData, state_.data.size()).contains(range_of(address, bytes.size()))) return 0;
      std::copy_n(state_.data.begin() + static_cast<ptrdiff_t>(address - kData), bytes.size(),
                  bytes.begin());
      return bytes.size();
    }

   private:
    const State& state_;
  };
  const View view(now());
  for (const target::StopPoint& point : points) {
    if (is_breakpoint(point.kind)) {
      if (point.range.begin == now().registers.pc() && point.stops_at(view)) {
        return target::BreakpointHit{point.kind};
      }
      continue;
    }
    for (size_t i = 0; i < before.data.size(); ++i) {
      if (before.data[i] != now().data[i] && point.range.contains(kData + i)) {
        return target::WatchpointHit{point.kind, kData + i};
      }
    }
  }
  return std::nullopt;
}

target::StopEvent FakeTarget::run(const target::ResumeRequest& request,
                                  target::RunControl& control) {
  const bool backward = request.direction == target::Direction::kBackward;
  for (uint64_t steps = 0;; ++steps) {
    if (steps % 256 == 255 && control.interrupted()) return target::Interrupted{};
    const State before = now();
    if (now().registers.pc() == kForever) {
      // The endless loop leaves no history, and has none.
    } else if (backward) {
      if (!step_backward()) return target::HistoryBegin{};
    } else if (!step_forward()) {
      return target::Exiting{"[the program exits with status 0]"};
    }
    if (const auto event = hit(before)) return *event;
    if (request.kind == target::ResumeKind::kStep) return target::StepDone{};
    if (request.kind == target::ResumeKind::kRangeStep &&
        !request.range.contains(now().registers.pc())) {
      return target::StepDone{};
    }
  }
}

Result<target::Stop> FakeTarget::resume(const target::ResumeRequest& request,
                                        target::RunControl& control) {
  requests.push_back(request);
  if (!next_output.empty()) control.console(std::exchange(next_output, {}));
  if (next_stop) {
    Result<target::Stop> stop = *std::exchange(next_stop, std::nullopt);
    if (stop) last_event_ = stop->event;
    return stop;
  }
  last_event_ = run(request, control);
  return current_stop();
}

Result<void> FakeTarget::kill() {
  killed = true;
  return {};
}

Result<void> FakeTarget::detach() {
  detached = true;
  return {};
}

target::MemoryRegion FakeTarget::region_at(GuestAddress address) {
  if (address < kStart) return {{GuestAddress{0}, kStart}, false, false, false, false, ""};
  if (address < kData) return {range_of(kStart, kPageSize), true, true, false, true, "/a program"};
  return {{kData, GuestAddress{~uint64_t{0}}}, true, true, true, false, ""};
}

Result<Bytes> FakeTarget::auxiliary_vector_bytes() { return Bytes(16); }

Result<Bytes> FakeTarget::read_siginfo(Tid) {
  if (siginfo_fails) return fail(ErrorKind::kUnsupported, "no signal");
  return siginfo_;
}

Result<void> FakeTarget::write_siginfo(Tid, ByteView siginfo) {
  siginfo_.assign(siginfo.begin(), siginfo.end());
  return {};
}

Result<target::LibraryList> FakeTarget::library_list() {
  target::LibraryList list;
  list.main_link_map = GuestAddress{0x1000};
  list.entries.push_back({"/lib/a&b.so", GuestAddress{0x2000}, 0x3000, GuestAddress{0x4000}});
  return list;
}

Result<target::Monitor::Answer> FakeTarget::monitor_command(std::string_view command,
                                                            target::RunControl&) {
  if (command == "fail") return fail(ErrorKind::kMisuse, "it failed");
  if (command == "seek 0") {
    position_ = 0;
    last_event_ = target::StepDone{};
    return Answer{"", true};
  }
  return Answer{"did " + std::string(command) + "\n", false};
}

Result<target::Stop> FakeTarget::restart_program() {
  position_ = 0;
  last_event_ = target::SignalStop{SIGTRAP};
  return current_stop();
}

Result<GuestAddress> FakeTarget::allocate(uint64_t, int protection) {
  return GuestAddress{0x10000 + static_cast<uint64_t>(protection)};
}

Result<void> FakeTarget::deallocate(GuestAddress address) {
  if (address.value == 0) return fail(ErrorKind::kMisuse, "not allocated");
  return {};
}

std::optional<ByteView> FakeTarget::embedded_file(std::string_view path) {
  static constexpr uint8_t kContents[] = {'e', 'm', 'b', '}', '*'};
  if (path != "/embedded") return std::nullopt;
  return ByteView(kContents);
}

std::optional<std::string> FakeTarget::embedded_link(std::string_view path) {
  if (path != "/embedded.link") return std::nullopt;
  return "/embedded";
}

}  // namespace rchk::protocol::testing
