// build: -O1 -D_GNU_SOURCE
#include <linux/bpf.h>
#include <linux/perf_event.h>

#include "refusals.h"

int main(void) {
  struct perf_event_attr event = {.size = sizeof event, .type = PERF_TYPE_SOFTWARE};
  union bpf_attr map = {
      .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1};
  int recorded_now = recorded();
  REFUSED(syscall(SYS_perf_event_open, &event, 0, -1, -1, 0), ENOSYS);
  REFUSED(syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map), ENOSYS);
  REFUSED(syscall(SYS_fanotify_init, 0, 0), ENOSYS);
  return passed();
}
