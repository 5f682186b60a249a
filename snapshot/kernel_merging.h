#pragma once

namespace rchk::snapshot {

// Whether the kernel may have merged written pages of the process with equal ones (KSM), so that
// their page table entries say less than before (Documentation/admin-guide/mm/ksm.rst).
// `zero_pages_known`: that the page of zeros can be told from others (Pagemap::can_scan()).
bool may_be_merged(int pid, bool zero_pages_known);

}  // namespace rchk::snapshot
