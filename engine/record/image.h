#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/record/files.h"
#include "engine/record/vdso.h"
#include "engine/trace/event.h"
#include "engine/tracee/tracee.h"

namespace rchk::record {

// How a guest is kept from what would escape the log.
struct Confinement {
  GuestAddress gadget;  // a `syscall` instruction in the guest's vDSO
  AddressRange vdso;
  VdsoCalls calls;  // in it
  bool cpuid_trapped = false;
  bool tsc_trapped = false;
  bool vsyscall_page = false;  // the kernel has one (vsyscall_page.h)
};

// Says something to the user.
using Note = std::function<void(std::string_view)>;

// Takes a program that execve just left at its first instruction out of reach of the kernel's clock
// in the vDSO, the time stamp counter and CPUID. An execve undoes it but for the time stamp
// counter, which goes on raising SIGSEGV.
Result<Confinement> confine(tracee::Tracee& tracee, bool trap_cpuid, bool trap_tsc);
// Undoes it, for a guest that goes on without its recorder. The vDSO's functions stay system calls.
// Leaves it in a system call's stop.
Result<void> set_free(tracee::Tracee& tracee, const Confinement& confinement);
// The same for a program that execve has just left at its first instruction and that was not
// confined: what a program before it had is with the process yet.
Result<void> set_free_by_its_own_code(tracee::Tracee& tracee);

// Describes a confined program at its first instruction. The contents of mapped files are added
// to `files`; a mapping whose file cannot be read has no backing, and is named to `note`.
Result<trace::ExecEvent> describe_image(tracee::Tracee& tracee, FileStore& files,
                                        const Confinement& confinement, const Note& note);

// True for the mappings that the kernel makes for itself.
bool is_kernel_mapping(const snapshot::ProcMapsEntry& entry);

// How far stacks of a process may grow (RLIMIT_STACK); 0 if it is not known.
uint64_t stack_limit_bytes(pid_t pid);

// Copies of pages, in runs; what cannot be read is left out.
std::vector<trace::PageContents> copy_pages(const tracee::Tracee& tracee,
                                            const snapshot::RangeSet& pages);

// The contents of a process's own pages in `mappings`: those in its page table that are neither the
// kernel's page of zeros nor, in a private mapping of a file, the file's.
Result<snapshot::RangeSet> own_page_ranges(const tracee::Tracee& tracee,
                                           const std::vector<trace::Mapping>& mappings);
Result<std::vector<trace::PageContents>> own_pages(const tracee::Tracee& tracee,
                                                   const std::vector<trace::Mapping>& mappings);

}  // namespace rchk::record
