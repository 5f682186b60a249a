// Applying events to a guest, and checking the guest against them.

#include <algorithm>
#include <utility>

#include <sys/resource.h>
#include <sys/syscall.h>

#include "engine/replay/segment.h"
#include "engine/translate/decode.h"
#include "snapshot/checksum.h"

namespace rchk::replay {

namespace {

// Both are the hardware's at a system call: SYSCALL puts the return address into rcx and the
// flags into r11 (SDM vol. 2, SYSCALL).
void forget_syscall_scratch(Registers& registers) { registers.rcx = registers.r11 = 0; }

// Leaves of CPUID that look at ecx (SDM vol. 2A, CPUID; AMD's manual vol. 3, appendix E).
bool depends_on_subleaf(uint32_t leaf) {
  switch (leaf) {
    case 0x4:
    case 0x7:
    case 0xb:
    case 0xd:
    case 0xf:
    case 0x10:
    case 0x12:
    case 0x14:
    case 0x17:
    case 0x18:
    case 0x1b:
    case 0x1d:
    case 0x1e:
    case 0x1f:
    case 0x20:
    case 0x23:
    case 0x24:
    case 0x8000001d:
    case 0x80000020:
    case 0x80000026:
      return true;
    default:
      return false;
  }
}

// A stack is to grow into nothing of the engine's.
Result<void> make_room_for_stacks(const Puppet& puppet, translate::Engine& engine) {
  for (const AddressRange& room : puppet.stack_rooms()) RCHK_TRY(engine.make_room(room));
  return {};
}

// How far the stack grows is the guest's to say (setrlimit(2)).
Result<void> follow_stack_limit(Puppet& puppet, translate::Engine& engine,
                                const trace::SyscallEvent& event, int32_t recorded_pid) {
  const Registers& call = event.before;
  const bool sets = event.number == SYS_setrlimit;
  const bool sets_own = event.number == SYS_prlimit64 &&
                        (call.rdi == 0 || call.rdi == static_cast<uint64_t>(recorded_pid));
  if (!sets && !sets_own) return {};
  const uint64_t resource = sets ? call.rdi : call.rsi;
  const GuestAddress pointer{sets ? call.rsi : call.rdx};
  if (resource != RLIMIT_STACK || pointer.value == 0 || event.after.rax != 0) return {};
  rlimit limit{};
  const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(&limit), sizeof(limit)};
  if (puppet.read_memory(pointer, bytes) != bytes.size()) return {};
  RCHK_TRY(puppet.set_stack_limit(limit.rlim_cur));
  return make_room_for_stacks(puppet, engine);
}

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

}  // namespace

Result<void> Replayer::map(Guest& guest, const snapshot::Mapping& mapping, Origin origin) {
  RCHK_TRY(engine_->make_room(mapping.range));
  // A guest made of a snapshot may have the code of others: attach() looks what it has.
  if (origin == Origin::kProgram) engine_->invalidate(mapping.range);
  Puppet::Contents contents;
  if (mapping.backing) {
    RCHK_TRY_ASSIGN(contents, origin == Origin::kSnapshot
                                  ? contents_->contents_besides_snapshot(mapping)
                                  : contents_->contents_of(mapping));
  }
  RCHK_TRY(guest.puppet->map(mapping, contents));
  if (!mapping.grows_down) return {};
  return make_room_for_stacks(*guest.puppet, *engine_);
}

Result<void> Replayer::write(Guest& guest, const trace::MemoryWrite& write) {
  const AddressRange range = range_of(write.address, write.bytes.size());
  for (const snapshot::Mapping& mapping : guest.puppet->space().overlapping(range)) {
    if (mapping.executable()) {
      engine_->invalidate(range);
      break;
    }
  }
  return guest.puppet->write_memory(write.address, write.bytes);
}

Result<void> Replayer::apply(Guest& guest, const trace::ExecEvent& event, Origin origin) {
  RCHK_TRY_ASSIGN(guest.puppet, Puppet::create(cpu_));
  if (shared_ != nullptr) guest.puppet->share_through(shared_);
  // Other processes go on with the code of before.
  if (engine_.use_count() > 1) {
    RCHK_TRY_ASSIGN(engine_, translate::Engine::create());
    RCHK_TRY(engine_->set_probes(probes_));
  }
  if (event.stack_limit_bytes != 0) {
    RCHK_TRY(guest.puppet->set_stack_limit(event.stack_limit_bytes));
  }
  RCHK_TRY(engine_->attach(*guest.puppet));
  for (const snapshot::Mapping& mapping : event.mappings) RCHK_TRY(map(guest, mapping, origin));
  for (const trace::MemoryWrite& contents : event.contents) RCHK_TRY(write(guest, contents));
  guest.registers = event.registers;
  RCHK_TRY(guest.puppet->set_registers(guest.registers));
  return guest.puppet->set_extended_state(event.extended_state);
}

Result<void> Replayer::apply(Guest& guest, const trace::AddressSpaceChange& change) {
  return std::visit(Overloaded{
                        [&](const trace::MapChange& item) { return map(guest, item.mapping); },
                        [&](const trace::UnmapChange& item) {
                          engine_->invalidate(item.range);
                          return guest.puppet->unmap_guest(item.range);
                        },
                        [&](const trace::ProtectChange& item) {
                          engine_->invalidate(item.range);
                          return guest.puppet->protect(item.range, item.protection);
                        },
                        [&](const trace::RemapChange& item) -> Result<void> {
                          RCHK_TRY(engine_->make_room(item.to));
                          engine_->invalidate(item.from);
                          engine_->invalidate(item.to);
                          return guest.puppet->remap(item);
                        },
                        [&](const trace::DiscardChange& item) {
                          engine_->invalidate(item.range);
                          return guest.puppet->discard(item.range);
                        },
                    },
                    change);
}

Result<void> Replayer::apply(Guest& guest, const trace::SyscallEvent& event) {
  RCHK_TRY(check_registers(guest, event.before, true));
  RCHK_TRY(follow_stack_limit(*guest.puppet, *engine_, event, guest.pid));
  for (const trace::AddressSpaceChange& change : event.changes) RCHK_TRY(apply(guest, change));
  for (const trace::MemoryWrite& item : event.writes) RCHK_TRY(write(guest, item));
  guest.registers = event.after;
  if (event.extended_state.empty()) return {};
  return guest.puppet->set_extended_state(event.extended_state);
}

Result<void> Replayer::apply(Guest& guest, const trace::SignalEvent& event) {
  RCHK_TRY(check_stand(guest, event.registers));
  if (!event.handler) return {};
  for (const trace::MemoryWrite& item : event.handler->frame) RCHK_TRY(write(guest, item));
  guest.registers = event.handler->registers;
  if (event.handler->extended_state.empty()) return {};
  return guest.puppet->set_extended_state(event.handler->extended_state);
}

// Where CPUID cannot be made to fault the guest executed it itself, on the core it was pinned to.
// The recording has the answers of that core (SDM vol. 2A, CPUID).
bool Replayer::answer_cpuid(Guest& guest) {
  const trace::RecordingInfo& info = source_.info();
  if (info.cpuid_trapped) return false;
  uint8_t code[2] = {};
  const bool is_cpuid = guest.puppet->read_memory(guest.registers.pc(), code) == sizeof(code) &&
                        code[0] == 0x0f && code[1] == 0xa2;
  if (!is_cpuid) return false;
  auto leaf = static_cast<uint32_t>(guest.registers.rax);
  const auto subleaf = static_cast<uint32_t>(guest.registers.rcx);
  const auto has = [&info](uint32_t wanted) {
    return std::any_of(info.cpuid.begin(), info.cpuid.end(),
                       [wanted](const trace::CpuidLeaf& entry) { return entry.leaf == wanted; });
  };
  // The recording has one beyond the highest basic leaf where such are answered as that one is.
  if (!info.cpuid.empty() && info.cpuid.front().leaf == 0) {
    const uint32_t highest = info.cpuid.front().eax;
    if (has(highest + 1) && (!has(leaf) || leaf == highest + 1)) leaf = highest;
  }
  trace::CpuidLeaf answer{};
  for (const trace::CpuidLeaf& entry : info.cpuid) {
    if (entry.leaf != leaf) continue;
    if (entry.subleaf == subleaf || !depends_on_subleaf(leaf)) {
      answer = entry;
      break;
    }
  }
  guest.registers.rax = answer.eax;
  guest.registers.rbx = answer.ebx;
  guest.registers.rcx = answer.ecx;
  guest.registers.rdx = answer.edx;
  guest.registers.rip += sizeof(code);
  return true;
}

// RDPID and LSL of the segment whose limit is the core's number, on the core that the guest was
// recorded on; LSL of other segments as it is everywhere.
bool Replayer::answer_core(Guest& guest) {
  constexpr uint64_t kCoreSelector = 0x7b, kRing = 3;  // __CPUNODE_SEG, asm/segment.h
  uint8_t code[translate::kMaxInstructionBytes] = {};
  Registers& registers = guest.registers;
  const size_t got = guest.puppet->read_memory(registers.pc(), code);
  translate::Instruction instruction;
  const bool is_here = translate::decode(code, got, instruction) == translate::DecodeStatus::kOk &&
                       tells_core(instruction);
  if (!is_here) return false;
  uint64_t& second = registers.*general_register(instruction.rm() | (instruction.rex & 1) << 3);
  registers.rip += instruction.length;
  const uint64_t core = source_.info().processor_id;
  if (instruction.rep == 0xf3) {
    second = core;
    return true;
  }
  uint64_t limit = core;
  bool found = true;
  if (((second ^ kCoreSelector) & 0xffff & ~kRing) != 0) {
    asm("lsl %2, %0" : "+r"(limit), "=@ccz"(found) : "r"(second & 0xffff));
  }
  const unsigned first = instruction.reg() | (instruction.rex & 4) << 1;
  if (found) registers.*general_register(first) = limit & UINT32_MAX;
  constexpr uint64_t kZeroFlag = 0x40;
  registers.rflags = found ? registers.rflags | kZeroFlag : registers.rflags & ~kZeroFlag;
  return true;
}

// The recorder carries it out in the same way (docs/notes/xsave.md).
Result<bool> Replayer::answer_xsavec(Guest& guest) {
  constexpr size_t kLongestInstruction = 15;
  uint8_t code[kLongestInstruction] = {};
  const size_t got = guest.puppet->read_memory(guest.registers.pc(), code);
  const auto instruction = tracee::decode_xsavec({code, got}, guest.registers);
  if (!instruction) return false;
  guest.puppet->lose_x87_pointers();  // the recorder stopped there
  RCHK_TRY_ASSIGN(const ExtendedState state, guest.puppet->extended_state());
  for (tracee::StoredBytes& item : xsavec_.stores(*instruction, guest.registers, state)) {
    RCHK_TRY(write(guest, {item.address, std::move(item.bytes)}));
  }
  guest.registers.rip += instruction->length;
  return true;
}

Result<void> Replayer::check_registers(const Guest& guest, Registers expected,
                                       bool behind_syscall) {
  Registers found = guest.registers;
  if (behind_syscall) {
    forget_syscall_scratch(expected);
    forget_syscall_scratch(found);
  }
  if (same_guest_state(expected, found)) return {};
  return divergence(guest, "registers differ:\n" + describe_difference(expected, found));
}

Result<void> Replayer::check_stand(const Guest& guest, const Registers& expected) {
  return check_registers(guest, expected, stands_at_syscall(expected, guest));
}

Result<void> Replayer::check_memory(const Guest& guest,
                                    const std::vector<trace::MemoryChecksum>& memory) {
  // Shared memory of files is left out by the recorder: it changes with the file, whoever writes.
  RCHK_TRY(guest.puppet->grow_stacks());
  snapshot::AddressSpace wanted;
  for (const auto& [begin, mapping] : guest.puppet->space().mappings()) {
    const bool is_file = mapping.backing && mapping.name != trace::kSharedMemoryName;
    if (!mapping.shared || !is_file) wanted.map(mapping);
  }
  RCHK_TRY_ASSIGN(const std::vector<snapshot::RunChecksum> found,
                  snapshot::checksum_memory(guest.puppet->pid(), wanted));
  std::vector<snapshot::RunChecksum> expected;
  for (const trace::MemoryChecksum& item : memory) expected.push_back({item.range, item.xxh3});
  checksums_verified_ += expected.size();
  const std::optional<AddressRange> difference = snapshot::first_difference(expected, found);
  if (!difference) return {};
  const snapshot::Mapping* mapping = guest.puppet->space().find(difference->begin);
  return divergence(
      guest, fmt::format(
                 "memory differs from what was recorded in {} ({})\n", *difference,
                 mapping == nullptr || mapping->name.empty() ? "anonymous memory" : mapping->name));
}

std::vector<Replayer::WatchedBytes> Replayer::watched_before(Guest& guest) {
  std::vector<WatchedBytes> watched;
  for (uint32_t i = 0; i < probes_.watchpoints.size(); ++i) {
    const translate::Watchpoint& watchpoint = probes_.watchpoints[i];
    if (watchpoint.kind == translate::WatchKind::kRead) continue;
    Bytes bytes(watchpoint.range.size());
    bytes.resize(guest.puppet->read_memory(watchpoint.range.begin, bytes));
    watched.push_back({i, std::move(bytes)});
  }
  return watched;
}

std::optional<uint32_t> Replayer::watched_change(Guest& guest,
                                                 const std::vector<WatchedBytes>& before) {
  for (const WatchedBytes& item : before) {
    Bytes now(probes_.watchpoints[item.probe].range.size());
    now.resize(guest.puppet->read_memory(probes_.watchpoints[item.probe].range.begin, now));
    if (now != item.before) return item.probe;
  }
  return std::nullopt;
}

Failure Replayer::divergence(const Guest& guest, std::string_view what) {
  constexpr uint64_t kEventsShown = 5;
  std::string text = fmt::format("the replay diverges from the recording at position {}: {}",
                                 guest.position, what);
  const Registers& registers = guest.registers;
  text += fmt::format("pc is {}; the last events:\n", registers.pc());
  const uint64_t last = guest.position.event.value + 1;
  for (uint64_t i = last > kEventsShown ? last - kEventsShown : 0; i <= last; ++i) {
    const auto event = source_.event({i});
    if (!event) break;
    text += fmt::format("  {}{}\n", i == last ? "(next) " : "",
                        trace::describe(source_.global_number({i}), **event, namer_));
  }
  return fail(ErrorKind::kDivergence, std::move(text));
}

}  // namespace rchk::replay
