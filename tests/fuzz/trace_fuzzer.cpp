#include <algorithm>
#include <cstdlib>

#include <sys/mman.h>
#include <unistd.h>

#include "engine/trace/dump.h"
#include "engine/trace/process_table.h"
#include "engine/trace/process_view.h"
#include "engine/trace/reader.h"
#include "tests/unit/engine_trace/file_builder.h"

// Feeds the reader of recordings. Checksums would keep random bytes from getting anywhere, so
// that most inputs are a list of chunks, to which right checksums are made.
namespace rchk::trace {
namespace {

// Takes small numbers and runs of bytes from the fuzzer's input; zero when there is no more.
class Input {
 public:
  explicit Input(ByteView bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  uint8_t byte() {
    if (bytes_.empty()) return 0;
    const uint8_t value = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return value;
  }
  ByteView run(size_t size) {
    const ByteView taken = bytes_.first(std::min(size, bytes_.size()));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }
  ByteView rest() { return run(bytes_.size()); }

 private:
  ByteView bytes_;
};

// Does everything with a recording that a user could.
void use(ByteView file_bytes) {
  FileDescriptor file(memfd_create("recording", MFD_CLOEXEC));
  if (pwrite(file.get(), file_bytes.data(), file_bytes.size(), 0) !=
      static_cast<ssize_t>(file_bytes.size())) {
    return;
  }
  const auto opened = TraceReader::open(std::move(file), "fuzzed");
  if (!opened) return;
  TraceReader& reader = **opened;
  (void)reader.verify();
  for (uint64_t i = 0; i < std::min<uint64_t>(reader.event_count(), 1000); ++i) {
    const auto event = reader.event({i});
    if (!event) continue;
    (void)describe_in_detail({i}, **event);
  }
  if (const auto table = ProcessTable::of(reader)) {
    for (size_t i = 0; i < std::min<size_t>(table->processes().size(), 20); ++i) {
      const auto view = ProcessView::create(reader, *table, {i}, ProcessView::Start::kFork);
      if (!view) continue;
      for (uint64_t n = 0; n < std::min<uint64_t>((*view)->event_count(), 100); ++n) {
        // What a list of processes says may be a lie.
        if (!(*view)->event({n}) && reader.process_map() == nullptr) std::abort();
        (void)(*view)->local_number((*view)->global_number({n}));
      }
      if (!(*view)->beginning() && reader.process_map() == nullptr) std::abort();
    }
  }
  for (const FileInfo& info : reader.files()) {
    (void)reader.file_bytes(info.id, 0, std::min<uint64_t>(info.size_bytes, 1 << 20));
  }
}

void use_chunks(Input input, bool with_info) {
  FileBuilder builder;
  if (with_info) builder.info();
  while (!input.empty()) {
    const uint8_t control = input.byte();
    const uint8_t type = input.byte();
    const uint8_t label = input.byte();
    const uint8_t key = input.byte();
    const size_t size = input.byte() | size_t{input.byte()} << 8;
    builder.chunk(type, input.run(size), key, label);
    if ((control & 1) != 0) {
      builder.change_last([&](ChunkHeader& header) {
        header.encoding = input.byte() & 3;
        header.raw_bytes = uint64_t{1} << (input.byte() & 31);
      });
    }
    if ((control & 2) != 0) builder.end();
    if ((control & 4) != 0) builder.raw(input.run(input.byte()));
  }
  use(builder.bytes());
}

}  // namespace
}  // namespace rchk::trace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rchk;
  using namespace rchk::trace;
  Input input({data, size});
  switch (input.byte() % 6) {
    case 0: {
      Bytes file(kFrontBytes);
      const ByteView rest = input.rest();
      file.insert(file.end(), rest.begin(), rest.end());
      use(file);
      break;
    }
    case 1:
      use_chunks(input, false);
      break;
    case 2:
      use_chunks(input, true);
      break;
    case 3: {
      const uint8_t count = input.byte();
      const auto events = decode_batch(input.rest(), count, "fuzzed", 0);
      if (!events) break;
      // What could be read is written and read again as the same.
      BatchEncoder encoder;
      for (const Event& event : *events) encoder.add(event);
      const auto again = decode_batch(encoder.bytes(), encoder.count(), "again", 0);
      if (!again || *again != *events) std::abort();
      break;
    }
    case 4:
      (void)decode_info(input.rest(), "fuzzed", 0);
      break;
    default:
      (void)decode_file_info(input.rest(), "fuzzed", 0);
      (void)decode_index(input.rest(), "fuzzed", 0);
      break;
  }
  return 0;
}
