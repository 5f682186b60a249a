#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "engine/timeline/timeline.h"
#include "engine/translate/decode.h"
#include "gdbserver/target/debugger_memory.h"
#include "gdbserver/target/diversion.h"
#include "gdbserver/target/target.h"

namespace rchk::target {

// A debuggee that is a timeline: a recording, or a program that is being recorded.
class TimelineTarget final : public Target,
                             public MemoryMap,
                             public AuxiliaryVector,
                             public ExecutableFile,
                             public Siginfo,
                             public Monitor,
                             public Restart,
                             public SignalPolicy,
                             public SyscallCatching,
                             public Allocator,
                             public EmbeddedFiles {
 public:
  // What a live session wants done besides; all may be empty.
  struct Hooks {
    // Takes the guest's output that has come meanwhile.
    std::function<std::string()> take_output;
    std::function<Result<void>()> kill;
    std::function<Result<void>()> detach;
  };

  TimelineTarget(timeline::Timeline& timeline, Hooks hooks);

  // For a family.
  struct FamilyHooks {
    Family* family = nullptr;
    // Called before the present moves.
    std::function<Result<void>()> before_move;
    // Which stops to make besides (timeline::StopPoints).
    std::function<bool(const timeline::Fork&)> forks, vforks_done;
  };
  void join(FamilyHooks hooks) { family_hooks_ = std::move(hooks); }
  // What a new process has of the one that made it.
  struct Inherited {
    std::vector<StopPoint> points;
    uint64_t silent_signals = 0;
    std::optional<std::vector<int>> caught_syscalls;
  };
  Inherited inheritance() const { return {points_, silent_signals_, caught_syscalls_}; }
  void inherit(Inherited from);
  // As resume(), as a part of a run of several processes (timeline::RunCommand has the same).
  struct Bounds {
    std::optional<EventNumber> until;
    bool goes_on = false;
  };
  Result<Stop> resume_within(const ResumeRequest& request, RunControl& control,
                             const Bounds& bounds);
  timeline::Timeline& timeline() { return timeline_; }
  // Stops where it stands, for `event`.
  Stop stop_here(StopEvent event) { return stop_ = make_stop(std::move(event)); }

  Tid process() const override;
  std::vector<ThreadInfo> threads() override;
  Stop current_stop() override { return stop_; }
  XsaveLayout xsave_layout() const override;

  Result<Registers> read_registers(Tid thread) override;
  Result<void> write_registers(Tid thread, const Registers& registers) override;
  Result<ExtendedState> read_extended_state(Tid thread) override;
  Result<void> write_extended_state(Tid thread, const ExtendedState& state) override;
  size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) override;
  Result<void> write_memory(GuestAddress address, ByteView bytes) override;

  Result<void> insert(const StopPoint& point) override;
  Result<void> remove(StopPointKind kind, AddressRange range) override;
  Result<Stop> resume(const ResumeRequest& request, RunControl& control) override {
    return resume_within(request, control, {});
  }
  bool can_go_back() const override { return true; }
  Result<void> kill() override;
  Result<void> detach() override;

  MemoryMap* memory_map() override { return this; }
  AuxiliaryVector* auxiliary_vector() override { return this; }
  ExecutableFile* executable_file() override { return this; }
  Siginfo* siginfo() override { return this; }
  Monitor* monitor() override { return this; }
  Restart* restart() override { return this; }
  SignalPolicy* signal_policy() override { return this; }
  SyscallCatching* syscall_catching() override { return this; }
  Allocator* allocator() override { return this; }
  EmbeddedFiles* embedded_files() override { return this; }
  Family* family() override { return family_hooks_.family; }

  MemoryRegion region_at(GuestAddress address) override;
  Result<Bytes> auxiliary_vector_bytes() override;
  Result<std::string> executable_path() override;
  Result<Bytes> read_siginfo(Tid thread) override;
  Result<void> write_siginfo(Tid thread, ByteView siginfo) override;
  Result<Answer> monitor_command(std::string_view command, RunControl& control) override;
  Result<Stop> restart_program() override;
  void set_silent_signals(const std::vector<int>& signals) override;
  void set_caught_syscalls(const std::optional<std::vector<int>>& numbers) override {
    caught_syscalls_ = numbers;
  }
  Result<GuestAddress> allocate(uint64_t size_bytes, int protection) override;
  Result<void> deallocate(GuestAddress address) override;
  std::optional<ByteView> embedded_file(std::string_view path) override;
  std::optional<std::string> embedded_link(std::string_view path) override;

 private:
  size_t read_as_it_is(GuestAddress address, std::span<uint8_t> bytes);
  bool is_debuggers(GuestAddress address);
  void show_unpatched(GuestAddress address, std::span<uint8_t> bytes);
  bool is_patched_there(const trace::Mapping& mapping, GuestAddress where,
                        const translate::PatchedByte& patch);
  Result<const trace::ExecEvent*> program();
  Result<Diversion*> diversion();
  void end_diversion();
  timeline::StopPoints stop_points() const;
  Stop stop_from(const timeline::TimelineStop& stop);
  bool is_of_another(Tid thread) const;
  // Of the breakpoints, or of the watchpoints.
  StopPoint nth_point(bool breakpoint, uint32_t index) const;
  Stop make_stop(StopEvent event) { return {running_thread(), std::move(event)}; }
  std::string name_of(Tid thread);
  // The one whose instructions the debuggee stands among.
  Tid running_thread();
  void pass_output(RunControl& control);
  Result<void> before_move() {
    return family_hooks_.before_move ? family_hooks_.before_move() : Result<void>();
  }
  // timeline_monitor.cpp
  Result<std::string> describe_present();
  void read_bookmarks();
  std::string list_of_bookmarks() const;
  Result<Answer> set_bookmark(const std::string& name);
  Result<Answer> moved();
  Result<Answer> go_to(std::string_view where);
  Result<Answer> go_to_last_change(AddressRange range, RunControl& control);
  Result<Answer> tell_last_touch(GuestAddress address);
  std::optional<ByteView> process_file(std::string_view path);

  timeline::Timeline& timeline_;
  Hooks hooks_;
  FamilyHooks family_hooks_;
  Stop stop_;
  std::vector<StopPoint> points_;
  uint64_t silent_signals_ = 0;  // bit 0 is signal 1
  std::optional<std::vector<int>> caught_syscalls_;
  std::unique_ptr<Diversion> diversion_;
  DebuggerMemory debugger_memory_;
  std::shared_ptr<const trace::Event> program_;
  std::map<std::string, Bytes, std::less<>> files_;
  std::list<Bytes> process_files_;  // as they were when they were opened
  std::map<std::string, Position, std::less<>> bookmarks_;
};

}  // namespace rchk::target
