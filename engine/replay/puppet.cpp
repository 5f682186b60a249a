#include "engine/replay/puppet.h"

#include <algorithm>
#include <atomic>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"

namespace rchk::replay {

namespace {

// Less than the 2 GiB that a displacement spans: code also names data beside it.
constexpr uint64_t kReach = 3ull << 29;
constexpr uint64_t kUserEnd = 0x7ffffffff000;
constexpr uint64_t kLowestPlace = 0x20000;
constexpr GuestAddress kProgramStart{0x400000};
constexpr uint64_t kScratchOffset = 256;      // in the gadget page
constexpr uint64_t kLowestMapping = 0x10000;  // vm.mmap_min_addr
// Signals of faults; all others stay blocked in a puppet.
constexpr uint64_t kBlockedSignals =
    ~((1ull << (SIGSEGV - 1)) | (1ull << (SIGBUS - 1)) | (1ull << (SIGFPE - 1)) |
      (1ull << (SIGILL - 1)) | (1ull << (SIGTRAP - 1)));

bool is_fault(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL ||
         signal == SIGTRAP;
}

// Numbers the states of code pages, over all puppets, so that no number names two contents.
uint64_t next_code_version() {
  static std::atomic<uint64_t> version{0};
  return ++version;
}

}  // namespace

Result<std::unique_ptr<Puppet>> Puppet::create(std::optional<int> cpu) {
  RCHK_TRY_ASSIGN(tracee::Tracee process, tracee::Tracee::spawn_empty(kGadgetPage, cpu));
  return std::unique_ptr<Puppet>(new Puppet(std::move(process)));
}

Result<std::unique_ptr<Puppet>> Puppet::adopt(Forked forked, const trace::EventSource& log) {
  std::unique_ptr<Puppet> puppet(new Puppet(std::move(forked.process)));
  puppet->gadget_ = forked.gadget;
  puppet->space_ = std::move(forked.space);
  puppet->first_code_version_ = next_code_version();
  RCHK_TRY(puppet->process_.set_signal_mask(kBlockedSignals));
  puppet->process_.expect_no_signals();
  RCHK_TRY(puppet->call("close_range", SYS_close_range, {0, ~0u, 0}));
  RCHK_TRY(puppet->place_gadget({}));
  RCHK_TRY(puppet->stop_sharing(forked.read_original, log));
  return puppet;
}

Result<void> Puppet::place_gadget(AddressRange avoided) {
  std::vector<AddressRange> taken = kept_clear_;
  taken.push_back(avoided);
  for (const auto& [begin, mapping] : space_.mappings()) taken.push_back(mapping.range);
  for (const auto& [begin, own] : own_ranges_) taken.push_back(own);
  GuestAddress place{kLowestMapping};
  // Each round passes over one range at least.
  for (bool moved = true; moved;) {
    moved = false;
    for (const AddressRange& range : taken) {
      if (!range.overlaps(range_of(place, kPageSize))) continue;
      place = range.end;
      moved = true;
    }
  }
  RCHK_TRY(call("mmap of the gadget page", SYS_mmap,
                {place.value, kPageSize, PROT_READ | PROT_WRITE | PROT_EXEC,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, ~0ull, 0}));
  const uint8_t code[] = {0x0f, 0x05, 0xcc};  // syscall; int3
  RCHK_TRY(process_.write_memory(place, code));
  gadget_ = place;
  return {};
}

Result<void> Puppet::move_gadget(AddressRange range) {
  const AddressRange old = gadget_page();
  if (!old.overlaps(range)) return {};
  RCHK_TRY(place_gadget(range));
  RCHK_TRY(call("munmap of the gadget page", SYS_munmap, {old.begin.value, old.size()}));
  return {};
}

Result<void> Puppet::keep_clear(AddressRange range) {
  const bool is_kept = std::any_of(
      kept_clear_.begin(), kept_clear_.end(),
      [range](AddressRange kept) { return kept.begin <= range.begin && kept.end >= range.end; });
  if (is_kept) return {};
  kept_clear_.push_back(range);
  kept_clear_ = snapshot::normalized(std::move(kept_clear_));
  return move_gadget(range);
}

uint64_t Puppet::next_serial() {
  static uint64_t last = 0;
  return ++last;
}

Result<std::unique_ptr<Puppet>> Puppet::fork(Sharing sharing) {
  ++forks_;
  RCHK_TRY_ASSIGN(tracee::Tracee process, process_.fork(gadget_));
  std::unique_ptr<Puppet> puppet(new Puppet(std::move(process)));
  puppet->gadget_ = gadget_;
  puppet->space_ = space_;
  puppet->own_ranges_ = own_ranges_;
  puppet->kept_clear_ = kept_clear_;
  puppet->first_code_version_ = first_code_version_;
  puppet->code_versions_ = code_versions_;
  puppet->descriptors_ = descriptors_;
  puppet->translation_ = translation_;
  if (sharing == Sharing::kCopy) {
    RCHK_TRY(copy_objects_to(*puppet));
  } else {
    puppet->shared_files_ = shared_files_;
    puppet->objects_ = objects_;
    puppet->common_ = common_;
  }
  return puppet;
}

size_t Puppet::read_memory(GuestAddress address, std::span<uint8_t> bytes) {
  const AddressRange wanted = range_of(address, bytes.size());
  uint64_t usable = bytes.size();
  const auto hide = [&](AddressRange own) {
    if (!own.overlaps(wanted)) return;
    usable = own.contains(address) ? 0 : std::min(usable, own.begin - address);
  };
  hide(gadget_page());
  for (const auto& [begin, own] : own_ranges_) hide(own);
  if (usable == 0) return 0;
  return process_.read_memory(address, bytes.first(usable));
}

Result<void> Puppet::write_memory(GuestAddress address, std::span<const uint8_t> bytes) {
  const AddressRange range = range_of(address, bytes.size());
  bool shared = false;
  for (const snapshot::Mapping& mapping : space_.overlapping(range)) {
    if (mapping.executable()) touch_code(range, Touched::kContents);
    shared |= is_object(mapping);
  }
  if (!shared) return process_.write_memory(address, bytes);
  for (size_t done = 0; done < bytes.size();) {
    const GuestAddress at = address + done;
    const size_t count = std::min<size_t>(bytes.size() - done, kPageSize - at.value % kPageSize);
    RCHK_TRY(write_shared(at, bytes.subspan(done, count)));
    done += count;
  }
  return {};
}

Result<int64_t> Puppet::call(const char* what, int64_t number, std::array<uint64_t, 6> arguments) {
  RCHK_TRY_ASSIGN(const int64_t result, process_.remote_syscall(gadget_, number, arguments));
  if (result < 0 && result > -4096) {
    return fail_errno(fmt::format("{} in the replay process", what), static_cast<int>(-result));
  }
  return result;
}

Result<int> Puppet::open_here(int fd) {
  const std::string path = fmt::format("/proc/{}/fd/{}", getpid(), fd);
  const GuestAddress scratch = gadget_ + kScratchOffset;
  RCHK_TRY(process_.write_memory(
      scratch, {reinterpret_cast<const uint8_t*>(path.c_str()), path.size() + 1}));
  RCHK_TRY_ASSIGN(const int64_t opened,
                  call(path.c_str(), SYS_openat,
                       {static_cast<uint64_t>(AT_FDCWD), scratch.value, O_RDWR | O_CLOEXEC}));
  return static_cast<int>(opened);
}

Result<int> Puppet::descriptor(int fd) {
  if (const auto known = descriptors_.find(fd); known != descriptors_.end()) return known->second;
  RCHK_TRY_ASSIGN(const int opened, open_here(fd));
  descriptors_[fd] = opened;
  return opened;
}

void Puppet::touch_code(AddressRange range, Touched what) {
  const AddressRange pages = range.pages();
  const uint64_t version = next_code_version();
  // A range larger than this is no code that was ever translated page by page: stop counting
  // pages where nothing executable was or is.
  for (const snapshot::Mapping& mapping : space_.overlapping(pages)) {
    if (!mapping.executable()) continue;
    const GuestAddress end = std::min(mapping.range.end, pages.end);
    for (GuestAddress page = std::max(mapping.range.begin, pages.begin); page < end;
         page = page + kPageSize) {
      code_versions_[page] = version;
      if (what == Touched::kMapping) {
        translation_.protected_pages.erase(page);
      } else if (const auto known = translation_.protected_pages.find(page);
                 known != translation_.protected_pages.end()) {
        known->second = 0;  // contents that nothing was translated from
      }
    }
  }
}

Result<void> Puppet::set_registers(const Registers& registers) {
  Registers hardware = registers;
  hardware.orig_rax = ~0ull;
  Result<void> set = process_.set_registers(hardware);
  if (set || set.error().kind != ErrorKind::kUnsupported) return set;
  RCHK_TRY(execute_base_writes(hardware));
  return process_.set_registers(hardware);
}

// Addresses of the kernel's half: ptrace does not take them, the instructions do.
Result<void> Puppet::execute_base_writes(const Registers& registers) {
  constexpr size_t kInstructionBytes = 5;
  const uint8_t code[2][kInstructionBytes] = {{0xf3, 0x48, 0x0f, 0xae, 0xd0},   // wrfsbase %rax
                                              {0xf3, 0x48, 0x0f, 0xae, 0xd8}};  // wrgsbase %rax
  const GuestAddress place = gadget_ + kScratchOffset;
  for (const bool gs : {false, true}) {
    const auto base = gs ? &Registers::gs_base : &Registers::fs_base;
    RCHK_TRY_ASSIGN(Registers now, process_.registers());
    if (now.*base == registers.*base) continue;
    RCHK_TRY(process_.write_memory(place, code[gs ? 1 : 0]));
    now.rip = place.value;
    now.rax = registers.*base;
    now.orig_rax = ~0ull;
    RCHK_TRY(process_.set_registers(now));
    RCHK_TRY(process_.resume(tracee::ResumeMode::kStep));
    RCHK_TRY_ASSIGN(const tracee::StopStatus stop, process_.wait());
    if (stop.is_gone()) return fail(ErrorKind::kGone, "the replay process was killed");
    RCHK_TRY_ASSIGN(now, process_.registers());
    if (now.*base == registers.*base) continue;
    return fail(ErrorKind::kMachine,
                fmt::format("this machine cannot set the base of {} to {:#x} (FSGSBASE)",
                            gs ? "GS" : "FS", registers.*base));
  }
  return {};
}

Result<ExtendedState> Puppet::extended_state() const {
  RCHK_TRY_ASSIGN(ExtendedState state, process_.extended_state());
  if (translation_.x87_pointer.value != 0) {
    rchk::set_x87_pointer(state, translation_.x87_pointer);
  }
  return state;
}

Result<void> Puppet::set_extended_state(const ExtendedState& state) {
  translation_.x87_pointer = {};
  lose_x87_pointers();
  return process_.set_extended_state(state);
}

Result<void> Puppet::set_x87_pointer(GuestAddress pointer) {
  RCHK_TRY_ASSIGN(ExtendedState state, process_.extended_state());
  rchk::set_x87_pointer(state, pointer);
  return process_.set_extended_state(state);
}

Result<translate::HostStop> Puppet::resume(const Registers& registers) {
  RCHK_TRY(set_registers(registers));
  for (;;) {
    RCHK_TRY(process_.resume(tracee::ResumeMode::kSysemu));
    RCHK_TRY_ASSIGN(const tracee::StopStatus stop, process_.wait());
    if (stop.is_gone()) return fail(ErrorKind::kGone, "the replay process was killed");
    translate::HostStop result;
    if (stop.kind == tracee::StopStatus::Kind::kSyscall) {
      RCHK_TRY_ASSIGN(result.registers, process_.registers());
      return result;
    }
    if (stop.kind != tracee::StopStatus::Kind::kSignal || !is_fault(stop.value)) continue;
    RCHK_TRY_ASSIGN(const siginfo_t info, process_.signal_info());
    RCHK_TRY_ASSIGN(result.registers, process_.registers());
    result.signal = stop.value;
    result.signal_code = info.si_code;
    result.fault_address = protected_view({reinterpret_cast<uint64_t>(info.si_addr)});
    return result;
  }
}

// A page that is written at another of its addresses is writable code as well.
translate::CodePage Puppet::code_page(GuestAddress page) {
  const snapshot::Mapping* mapping = space_.find(page);
  if (mapping == nullptr) return {};
  translate::CodePage code;
  code.executable = mapping->executable();
  code.writable = mapping->writable();
  for (const GuestAddress view : views_of(page)) code.writable |= space_.find(view)->writable();
  code.shared = common_ != nullptr && mapping->shared;
  const auto version = code_versions_.find(page);
  code.version = version != code_versions_.end() ? version->second : first_code_version_;
  return code;
}

Result<void> Puppet::protect_code_page(GuestAddress page, bool read_only) {
  if (space_.find(page) == nullptr) return {};
  std::vector<GuestAddress> views = views_of(page);
  if (views.empty()) views.push_back(page);
  for (const GuestAddress view : views) {
    const uint64_t guests = space_.find(view)->protection;
    const uint64_t protection = read_only ? guests & ~uint64_t{PROT_WRITE} : guests;
    RCHK_TRY(call("mprotect", SYS_mprotect, {view.page_floor().value, kPageSize, protection}));
  }
  return {};
}

Result<void> Puppet::map_shared(GuestAddress address, uint64_t size_bytes, int memfd,
                                uint64_t offset_bytes, int protection) {
  RCHK_TRY_ASSIGN(const int fd, descriptor(memfd));
  const std::string what = fmt::format("mapping the code cache at {}", address);
  // The place may have been chosen in a guest whose stack does not come there.
  for (const AddressRange& room : stack_rooms()) {
    if (!room.overlaps(range_of(address, size_bytes))) continue;
    return fail(ErrorKind::kUnsupported, what + ": a stack may grow there");
  }
  RCHK_TRY(call(what.c_str(), SYS_mmap,
                {address.value, size_bytes, static_cast<uint64_t>(protection),
                 MAP_SHARED | MAP_FIXED_NOREPLACE, static_cast<uint64_t>(fd), offset_bytes}));
  own_ranges_[address] = range_of(address, size_bytes);
  return {};
}

Result<void> Puppet::unmap(AddressRange range) {
  RCHK_TRY(call("unmapping the code cache", SYS_munmap, {range.begin.value, range.size()}));
  std::erase_if(own_ranges_, [&](const auto& entry) { return entry.second.overlaps(range); });
  return {};
}

std::optional<GuestAddress> Puppet::free_range_near(AddressRange code, uint64_t size_bytes) {
  // Every byte of the range must reach every byte of the code.
  const uint64_t lowest = code.end.value > kReach ? code.end.value - kReach : 0;
  const uint64_t highest = std::min(code.begin.value + kReach, kUserEnd);
  std::vector<AddressRange> taken = stack_rooms();
  taken.insert(taken.end(), kept_clear_.begin(), kept_clear_.end());
  taken.push_back(gadget_page());
  for (const auto& [begin, mapping] : space_.mappings()) taken.push_back(mapping.range);
  // What lies in the process and is hidden from the guest as well: the kernel's vDSO in one that
  // was forked from the recorded process.
  const auto maps = snapshot::read_proc_maps(process_.pid());
  if (!maps) return std::nullopt;
  for (const snapshot::ProcMapsEntry& entry : *maps) taken.push_back(entry.range);
  std::sort(taken.begin(), taken.end());
  taken.push_back({{highest}, {kUserEnd}});

  // Near the very bottom (what must have an address of 31 bits) the lowest place is the one that
  // no program's heap grows into. Else, of the gaps that are large enough, take the highest place
  // of the one above the libraries, else a place below the code: the kernel puts new mappings
  // below the lowest library, so stay away from it, and the heap above the program.
  constexpr GuestAddress kLibraries{0x7f0000000000};
  constexpr uint64_t kRoomForLibraries = 1ull << 30;
  const bool is_library = code.begin >= kLibraries;
  std::optional<GuestAddress> above, below;
  const bool at_bottom = code.begin <= kGadgetPage;
  uint64_t gap_start = std::max(lowest, at_bottom ? kLowestPlace : kProgramStart.value);
  for (const AddressRange& range : taken) {
    const uint64_t gap_end = std::min(range.begin.value, highest);
    if (gap_end > gap_start && gap_end - gap_start >= size_bytes) {
      if (at_bottom) return GuestAddress{gap_start};
      GuestAddress place = GuestAddress{gap_end - size_bytes}.page_floor();
      if (is_library && place < code.begin) {
        const uint64_t away = code.begin.value - kRoomForLibraries - size_bytes;
        place = std::min(place, GuestAddress{std::max(gap_start, away)}.page_ceiling());
      }
      if (place >= code.end) {
        above = place;
      } else {
        below = place;
      }
    }
    gap_start = std::max(gap_start, range.end.value);
  }
  if (is_library) return above ? above : below;
  return below ? below : above;
}

}  // namespace rchk::replay
