#pragma once

#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

#include "engine/translate/host.h"

namespace rchk::translate::testing {

// A traced process for tests: both what an Engine drives, and, single-stepped, the truth that it
// is compared with. Everything fails by aborting: a test has nothing better to do.
class Puppet final : public Host {
 public:
  // A child that is stopped and holds a copy of this process.
  static Puppet forked();
  // A child stopped at the first instruction of `arguments[0]`, without address randomisation.
  static Puppet executing(const std::vector<std::string>& arguments, const std::string& stdout_to);
  Puppet(Puppet&& other) noexcept;
  ~Puppet() override;

  pid_t pid() const { return pid_; }
  Registers registers() const;
  void set_registers(const Registers& registers);
  ExtendedState extended_state() const;
  void set_extended_state(const ExtendedState& state);
  // Executes one instruction natively; returns the signal it raised, 0 for none.
  HostStop single_step(const Registers& registers);
  // Executes a system call in the process.
  long system_call(long number, const std::vector<uint64_t>& arguments);
  // Maps anonymous private memory at exactly `range`.
  void map(AddressRange range, int protection);
  void write(GuestAddress address, std::span<const uint8_t> bytes);
  std::vector<uint8_t> read(GuestAddress address, size_t count);
  // Says that mappings changed; the next code_page() reads them again.
  void mappings_changed() { maps_.clear(); }
  void set_version(AddressRange range, uint64_t version);
  // A copy of the process as it is now.
  Puppet clone();

  Result<HostStop> resume(const Registers& registers) override;
  size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) override;
  Result<void> set_x87_pointer(GuestAddress pointer) override;
  CodePage code_page(GuestAddress page) override;
  Result<void> protect_code_page(GuestAddress page, bool read_only) override;
  Result<void> map_shared(GuestAddress address, uint64_t size_bytes, int memfd,
                          uint64_t offset_bytes, int protection) override;
  Result<void> unmap(AddressRange range) override;
  std::optional<GuestAddress> free_range_near(AddressRange code, uint64_t size_bytes) override;
  HostTranslationState& translation_state() override { return state_; }

  uint64_t resumes = 0;
  // Code gets no cache near it, so that its operands are out of the reach of the copies.
  static inline bool caches_are_far = false;
  // As if the guest had mapped all that lies below 2 GiB.
  static inline bool low_memory_is_full = false;

 private:
  struct Area {
    AddressRange range;
    int protection = 0;
  };

  explicit Puppet(pid_t pid);
  void prepare();
  HostStop wait_for_stop();
  const std::vector<Area>& maps();

  pid_t pid_ = -1;
  int memory_ = -1;
  GuestAddress gate_;  // a `syscall` instruction in the process
  std::vector<Area> maps_;
  std::map<uint64_t, uint64_t> versions_;  // by page
  HostTranslationState state_;
};

// Keeps this process, and children it makes from now on, on one core: a stop costs 3 us there
// and 70 across cores.
void pin_to_one_core();

}  // namespace rchk::translate::testing
