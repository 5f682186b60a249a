#pragma once

#include "gdbserver/target/target.h"

namespace rchk::target {

// Stands for a process whose history cannot be shown: whatever is asked of it, it says why.
class UnreachableTarget final : public Target {
 public:
  UnreachableTarget(Tid process, Error why) : process_(process), why_(std::move(why)) {}

  Tid process() const override { return process_; }
  std::vector<ThreadInfo> threads() override { return {{process_, ""}}; }
  Stop current_stop() override { return {process_, Unsupported{why_.message()}}; }
  Result<Registers> read_registers(Tid) override { return error(); }
  Result<void> write_registers(Tid, const Registers&) override { return error(); }
  Result<ExtendedState> read_extended_state(Tid) override { return error(); }
  Result<void> write_extended_state(Tid, const ExtendedState&) override { return error(); }
  size_t read_memory(GuestAddress, std::span<uint8_t>) override { return 0; }
  Result<void> write_memory(GuestAddress, ByteView) override { return error(); }
  Result<void> insert(const StopPoint&) override { return {}; }
  Result<void> remove(StopPointKind, AddressRange) override { return {}; }
  Result<Stop> resume(const ResumeRequest&, RunControl&) override { return error(); }
  bool can_go_back() const override { return true; }
  Result<void> kill() override { return {}; }
  Result<void> detach() override { return {}; }

 private:
  Failure error() const { return Failure(why_); }

  Tid process_;
  Error why_;
};

}  // namespace rchk::target
