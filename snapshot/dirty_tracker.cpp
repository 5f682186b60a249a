#include "snapshot/dirty_tracker.h"

#include "base/check.h"
#include "snapshot/fork_tracker.h"
#include "snapshot/mark_tracker.h"

namespace rchk::snapshot {

std::string_view name_of(TrackerKind kind) {
  switch (kind) {
    case TrackerKind::kSoftDirty:
      return "soft-dirty";
    case TrackerKind::kUserfaultfd:
      return "userfaultfd";
    case TrackerKind::kExclusive:
      return "exclusive";
    case TrackerKind::kContent:
      return "content";
  }
  return "unknown";
}

bool needs_reference(TrackerKind kind) {
  return kind == TrackerKind::kExclusive || kind == TrackerKind::kContent;
}

std::unique_ptr<DirtyTracker> make_tracker(TrackerKind kind, int pid) {
  RCHK_CHECK(kind != TrackerKind::kUserfaultfd, "the tracker needs a userfaultfd");
  if (kind == TrackerKind::kSoftDirty) return std::make_unique<SoftDirtyTracker>(pid);
  if (kind == TrackerKind::kExclusive) return std::make_unique<ExclusiveTracker>(pid);
  return std::make_unique<ContentTracker>(pid);
}

Result<std::unique_ptr<DirtyTracker>> make_userfaultfd_tracker(int pid,
                                                               FileDescriptor userfaultfd) {
  return UserfaultfdTracker::make(pid, std::move(userfaultfd));
}

}  // namespace rchk::snapshot
