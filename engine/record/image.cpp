#include "engine/record/image.h"

#include <algorithm>
#include <cstring>

#include <asm/prctl.h>
#include <elf.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/file_io.h"
#include "engine/record/limits.h"
#include "engine/record/process.h"
#include "engine/record/vdso.h"
#include "snapshot/pagemap.h"

namespace rchk::record {

namespace {

constexpr uint64_t kReadChunkBytes = 1 << 20;

using snapshot::ProcMapsEntry;

// Makes each function of the vDSO a system call.
Result<Confinement> replace_vdso(tracee::Tracee& tracee, const std::vector<ProcMapsEntry>& maps) {
  for (const ProcMapsEntry& entry : maps) {
    if (entry.name != "[vdso]") continue;
    Bytes image(entry.range.size());
    image.resize(tracee.read_memory(entry.range.begin, image));
    Confinement confinement;
    RCHK_TRY_ASSIGN(confinement.calls, make_functions_calls(image));
    RCHK_TRY(tracee.write_memory(entry.range.begin, image));
    confinement.vdso = entry.range;
    confinement.gadget = entry.range.begin + confinement.calls.syscall;
    return confinement;
  }
  return fail(ErrorKind::kMachine, "the kernel gives programs no vDSO (vdso=0)");
}

// The initial stack, upwards from rsp (psABI 3.4.1): argc, argv[], 0, envp[], 0, auxv pairs
// until AT_NULL.
Result<GuestAddress> find_auxv(const tracee::Tracee& tracee, GuestAddress stack) {
  const auto word = [&](GuestAddress at) -> Result<uint64_t> {
    uint64_t value = 0;
    if (tracee.read_memory(at, {reinterpret_cast<uint8_t*>(&value), 8}) != 8) {
      return fail(ErrorKind::kUnsupported, "the initial stack cannot be read");
    }
    return value;
  };
  RCHK_TRY_ASSIGN(const uint64_t argument_count, word(stack));
  GuestAddress at = stack + 8 * (argument_count + 2);
  for (;; at = at + 8) {
    RCHK_TRY_ASSIGN(const uint64_t pointer, word(at));
    if (pointer == 0) return at + 8;
  }
}

Result<Bytes> read_auxv(const tracee::Tracee& tracee, GuestAddress auxv) {
  Bytes all;
  for (GuestAddress at = auxv;; at = at + sizeof(Elf64_auxv_t)) {
    Elf64_auxv_t entry;
    const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(&entry), sizeof(entry)};
    if (tracee.read_memory(at, bytes) != sizeof(entry)) {
      return fail(ErrorKind::kUnsupported, "the auxiliary vector cannot be read");
    }
    all.insert(all.end(), bytes.begin(), bytes.end());
    if (entry.a_type == AT_NULL) return all;
  }
}

bool all_zero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

// Adds whole pages of `memory`, which lies at `address`, that differ from `base`; pages next to
// each other become one write.
void add_different_pages(GuestAddress address, std::span<const uint8_t> memory,
                         std::span<const uint8_t> base, std::vector<trace::MemoryWrite>& out) {
  for (size_t at = 0; at + kPageSize <= memory.size(); at += kPageSize) {
    const auto page = memory.subspan(at, kPageSize);
    const size_t known = at < base.size() ? std::min(kPageSize, base.size() - at) : 0;
    const bool same = (known == 0 || std::memcmp(page.data(), base.data() + at, known) == 0) &&
                      all_zero(page.subspan(known));
    if (same) continue;
    const GuestAddress where = address + at;
    if (!out.empty() && out.back().address + out.back().bytes.size() == where) {
      out.back().bytes.insert(out.back().bytes.end(), page.begin(), page.end());
    } else {
      out.push_back({where, Bytes(page.begin(), page.end())});
    }
  }
}

// What `mapping` holds beyond what its file does.
Result<void> add_contents(const tracee::Tracee& tracee, const trace::Mapping& mapping,
                          const ProcMapsEntry& entry, std::vector<trace::MemoryWrite>& out) {
  // Nothing but a store changes a private page of a file, and only where stores are allowed.
  if (mapping.backing && !mapping.writable()) return {};
  FileDescriptor file;
  if (mapping.backing) {
    RCHK_TRY_ASSIGN(file, open_mapped_file(tracee.pid(), entry));
  }
  for (uint64_t at = 0; at < mapping.range.size(); at += kReadChunkBytes) {
    Bytes memory(std::min(kReadChunkBytes, mapping.range.size() - at));
    memory.resize(tracee.read_memory(mapping.range.begin + at, memory));
    Bytes base;
    if (file.is_open()) {
      base.resize(memory.size());
      base.resize(read_at(file.get(), mapping.backing->offset_bytes + at, base));
    }
    add_different_pages(mapping.range.begin + at, memory, base, out);
  }
  return {};
}

// The recorded form of one line of /proc/PID/maps.
Result<trace::Mapping> recorded_mapping(pid_t pid, const ProcMapsEntry& entry, FileStore& files,
                                        const Note& note) {
  trace::Mapping mapping;
  mapping.range = entry.range;
  mapping.protection = entry.protection;
  mapping.shared = entry.shared;
  mapping.grows_down = entry.name == "[stack]";
  mapping.name = entry.name;
  if (entry.inode == 0) return mapping;
  Result<FileDescriptor> file = open_mapped_file(pid, entry);
  if (!file) {
    note(fmt::format("{}; its contents are recorded as memory", file.error().message()));
    return mapping;
  }
  RCHK_TRY_ASSIGN(const snapshot::FileId id, files.add(*file, entry.name));
  RCHK_TRY(files.add_range(id, *file, entry.offset_bytes, entry.range.size()));
  mapping.backing = snapshot::FileBacking{id, entry.offset_bytes};
  return mapping;
}

}  // namespace

bool is_kernel_mapping(const ProcMapsEntry& entry) {
  return entry.name == "[vsyscall]" || entry.name.starts_with("[vvar");
}

Result<Confinement> confine(tracee::Tracee& tracee, bool trap_cpuid, bool trap_tsc) {
  RCHK_TRY_ASSIGN(const std::vector<ProcMapsEntry> maps, snapshot::read_proc_maps(tracee.pid()));
  RCHK_TRY_ASSIGN(Confinement confinement, replace_vdso(tracee, maps));
  const GuestAddress gadget = confinement.gadget;
  confinement.vsyscall_page = std::any_of(maps.begin(), maps.end(), [](const ProcMapsEntry& entry) {
    return entry.name == "[vsyscall]";
  });
  if (trap_tsc) {
    RCHK_TRY_ASSIGN(const int64_t tsc,
                    tracee.remote_syscall(gadget, SYS_prctl, {PR_SET_TSC, PR_TSC_SIGSEGV}));
    confinement.tsc_trapped = tsc == 0;
  }
  if (trap_cpuid) {
    RCHK_TRY_ASSIGN(const int64_t cpuid,
                    tracee.remote_syscall(gadget, SYS_arch_prctl, {ARCH_SET_CPUID, 0}));
    confinement.cpuid_trapped = cpuid == 0;
  }
  return confinement;
}

Result<void> set_free(tracee::Tracee& tracee, const Confinement& confinement) {
  // Where it does not trap, too: a signal is restored from behind a call.
  RCHK_TRY(tracee.remote_syscall(confinement.gadget, SYS_prctl, {PR_SET_TSC, PR_TSC_ENABLE}));
  if (confinement.cpuid_trapped) {
    RCHK_TRY(tracee.remote_syscall(confinement.gadget, SYS_arch_prctl, {ARCH_SET_CPUID, 1}));
  }
  return {};
}

Result<void> set_free_by_its_own_code(tracee::Tracee& tracee) {
  constexpr uint8_t kSyscall[] = {0x0f, 0x05};
  uint8_t kept[sizeof(kSyscall)];
  RCHK_TRY_ASSIGN(const Registers registers, tracee.registers());
  Confinement confinement;
  confinement.gadget = registers.pc();
  confinement.tsc_trapped = confinement.cpuid_trapped = true;
  if (tracee.read_memory(registers.pc(), kept) != sizeof(kept)) {
    return fail(ErrorKind::kUnsupported, "the program's first instruction cannot be read");
  }
  RCHK_TRY(tracee.write_memory(registers.pc(), kSyscall));
  const Result<void> freed = set_free(tracee, confinement);
  RCHK_TRY(tracee.write_memory(registers.pc(), kept));
  return freed;
}

uint64_t stack_limit_bytes(pid_t pid) { return soft_limit(pid, RLIMIT_STACK).value_or(0); }

Result<trace::ExecEvent> describe_image(tracee::Tracee& tracee, FileStore& files,
                                        const Confinement& confinement, const Note& note) {
  trace::ExecEvent event;
  RCHK_TRY_ASSIGN(event.registers, tracee.registers());
  RCHK_TRY_ASSIGN(event.extended_state, tracee.extended_state());
  event.pid = tracee.pid();
  event.stack_limit_bytes = stack_limit_bytes(tracee.pid());
  event.executable = read_proc_link(tracee.pid(), "exe");
  RCHK_TRY_ASSIGN(const GuestAddress auxv, find_auxv(tracee, {event.registers.rsp}));
  RCHK_TRY_ASSIGN(event.auxv, read_auxv(tracee, auxv));
  RCHK_TRY_ASSIGN(const int64_t brk, tracee.remote_syscall(confinement.gadget, SYS_brk, {0}));
  event.brk = {static_cast<uint64_t>(brk)};
  RCHK_TRY_ASSIGN(const std::vector<ProcMapsEntry> maps, snapshot::read_proc_maps(tracee.pid()));
  for (const ProcMapsEntry& entry : maps) {
    if (is_kernel_mapping(entry)) continue;
    RCHK_TRY_ASSIGN(trace::Mapping mapping, recorded_mapping(tracee.pid(), entry, files, note));
    RCHK_TRY(add_contents(tracee, mapping, entry, event.contents));
    event.mappings.push_back(std::move(mapping));
  }
  return event;
}

Result<snapshot::RangeSet> own_page_ranges(const tracee::Tracee& tracee,
                                           const std::vector<trace::Mapping>& mappings) {
  RCHK_TRY_ASSIGN(const snapshot::Pagemap pagemap, snapshot::Pagemap::open(tracee.pid()));
  snapshot::RangeSet pages;
  std::vector<snapshot::PageEntry> entries;
  for (const trace::Mapping& mapping : mappings) {
    RCHK_TRY_ASSIGN(const auto populated, pagemap.populated(mapping.range));
    for (const snapshot::PopulatedRange& part : populated) {
      if (part.zero_pages) continue;
      RCHK_TRY(pagemap.read(part.range, entries));
      for (size_t i = 0; i < entries.size(); ++i) {
        if (!entries[i].in_table()) continue;
        if (!mapping.shared && mapping.backing && entries[i].file_or_shared()) continue;
        snapshot::append_in_order(pages, range_of(part.range.begin + i * kPageSize, kPageSize));
      }
    }
  }
  return pages;
}

Result<std::vector<trace::PageContents>> own_pages(const tracee::Tracee& tracee,
                                                   const std::vector<trace::Mapping>& mappings) {
  RCHK_TRY_ASSIGN(const snapshot::RangeSet pages, own_page_ranges(tracee, mappings));
  return copy_pages(tracee, pages);
}

std::vector<trace::PageContents> copy_pages(const tracee::Tracee& tracee,
                                            const snapshot::RangeSet& pages) {
  constexpr uint64_t kPieceBytes = 1 << 20;
  std::vector<trace::PageContents> runs;
  for (const AddressRange& range : pages) {
    for (GuestAddress at = range.begin; at < range.end;) {
      trace::PageContents run{at, Bytes(std::min(kPieceBytes, range.end - at))};
      run.bytes.resize(tracee.read_memory(at, run.bytes) / kPageSize * kPageSize);
      at = at + std::max<uint64_t>(run.bytes.size(), kPageSize);
      if (!run.bytes.empty()) runs.push_back(std::move(run));
    }
  }
  return runs;
}

}  // namespace rchk::record
