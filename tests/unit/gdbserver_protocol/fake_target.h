#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "gdbserver/target/target.h"

namespace rchk::protocol::testing {

// A debuggee without a process: an interpreter of six x86-64 instructions that keeps every state
// it was in. The program counts rcx down from 5, and stores rax, which it counts up:
//
//   401000  mov $5,%rcx
//   401007  inc %rax
//   40100a  mov %rax,0x402000
//   401012  dec %rcx
//   401015  jne 0x401007
//   401017  syscall            the program is about to exit
//   401019  jmp 0x401019       for tests that interrupt
class FakeTarget : public target::Target,
                   public target::MemoryMap,
                   public target::AuxiliaryVector,
                   public target::ExecutableFile,
                   public target::Siginfo,
                   public target::Libraries,
                   public target::Monitor,
                   public target::Restart,
                   public target::SignalPolicy,
                   public target::SyscallCatching,
                   public target::Allocator,
                   public target::EmbeddedFiles {
 public:
  static constexpr GuestAddress kStart{0x401000}, kLoop{0x401007}, kStore{0x40100a};
  static constexpr GuestAddress kDec{0x401012}, kJne{0x401015}, kExit{0x401017};
  static constexpr GuestAddress kForever{0x401019}, kData{0x402000};
  static constexpr Tid kMain{0x111}, kOther{0x222};

  FakeTarget();

  // What tests look at or set.
  bool offers_features = true;
  bool goes_back = true;
  bool siginfo_fails = false, insert_fails = false;  // with kUnsupported
  Tid pid = kMain;
  target::Family* family_of_it = nullptr;
  std::vector<target::ThreadInfo> thread_list = {{kMain, "main"}};
  target::XsaveLayout layout;
  std::vector<target::StopPoint> points;
  std::vector<target::ResumeRequest> requests;  // all that resume() was asked
  std::vector<int> silent_signals;
  std::optional<std::vector<int>> caught_syscalls;
  std::optional<Result<target::Stop>> next_stop;  // resume() returns it, and runs nothing
  std::string next_output;                        // resume() shows it first
  bool killed = false, detached = false;
  size_t position() const { return position_; }
  Registers& registers_of_main() { return history_[position_].registers; }
  uint64_t stored() const;
  ExtendedState extended;

  // Target
  Tid process() const override { return pid; }
  std::vector<target::ThreadInfo> threads() override { return thread_list; }
  target::Stop current_stop() override { return {pid, last_event_}; }
  Result<Registers> read_registers(Tid thread) override;
  Result<void> write_registers(Tid thread, const Registers& registers) override;
  Result<ExtendedState> read_extended_state(Tid thread) override;
  Result<void> write_extended_state(Tid thread, const ExtendedState& state) override;
  target::XsaveLayout xsave_layout() const override { return layout; }
  size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) override;
  Result<void> write_memory(GuestAddress address, ByteView bytes) override;
  Result<void> insert(const target::StopPoint& point) override;
  Result<void> remove(target::StopPointKind kind, AddressRange range) override;
  Result<target::Stop> resume(const target::ResumeRequest& request,
                              target::RunControl& control) override;
  bool can_go_back() const override { return goes_back; }
  Result<void> kill() override;
  Result<void> detach() override;

  // Features
  target::MemoryMap* memory_map() override { return offered(this); }
  target::AuxiliaryVector* auxiliary_vector() override { return offered(this); }
  target::ExecutableFile* executable_file() override { return offered(this); }
  target::Siginfo* siginfo() override { return offered(this); }
  target::Libraries* libraries() override { return offered(this); }
  target::Monitor* monitor() override { return offered(this); }
  target::Restart* restart() override { return offered(this); }
  target::SignalPolicy* signal_policy() override { return offered(this); }
  target::SyscallCatching* syscall_catching() override { return offered(this); }
  target::Allocator* allocator() override { return offered(this); }
  target::EmbeddedFiles* embedded_files() override { return offered(this); }
  target::Family* family() override { return family_of_it; }

  target::MemoryRegion region_at(GuestAddress address) override;
  Result<Bytes> auxiliary_vector_bytes() override;
  Result<std::string> executable_path() override { return "/no/such/program"; }
  Result<Bytes> read_siginfo(Tid) override;
  Result<void> write_siginfo(Tid, ByteView siginfo) override;
  Result<target::LibraryList> library_list() override;
  Result<Answer> monitor_command(std::string_view command, target::RunControl& control) override;
  Result<target::Stop> restart_program() override;
  void set_silent_signals(const std::vector<int>& signals) override { silent_signals = signals; }
  void set_caught_syscalls(const std::optional<std::vector<int>>& numbers) override {
    caught_syscalls = numbers;
  }
  Result<GuestAddress> allocate(uint64_t size_bytes, int protection) override;
  Result<void> deallocate(GuestAddress address) override;
  std::optional<ByteView> embedded_file(std::string_view path) override;
  std::optional<std::string> embedded_link(std::string_view path) override;

 private:
  struct State {
    Registers registers;
    std::array<uint8_t, 64> data = {};  // at kData
    bool operator==(const State&) const = default;
  };

  template <typename Feature>
  Feature* offered(Feature* feature) {
    return offers_features ? feature : nullptr;
  }
  const State& now() const { return history_[position_]; }
  // False at the end of history, or at its beginning.
  bool step_forward();
  bool step_backward() { return position_ > 0 && position_-- > 0; }
  State next_state() const;
  // The breakpoint at pc, or the watchpoint that the step from `before` hit.
  std::optional<target::StopEvent> hit(const State& before) const;
  target::StopEvent run(const target::ResumeRequest& request, target::RunControl& control);

  std::vector<State> history_;
  size_t position_ = 0;
  Registers other_registers_;
  target::StopEvent last_event_;
  Bytes siginfo_ = Bytes(128);
};

}  // namespace rchk::protocol::testing
