#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/record/recorder.h"
#include "engine/timeline/live_program.h"
#include "engine/timeline/timeline.h"
#include "engine/trace/event_log.h"
#include "engine/trace/reader.h"

namespace rchk::timeline::test {

// Guests of a few dozen instructions without a library, so that tests can visit every position.
// All memory that they use lies at and above kData.
enum class TinyGuest : uint8_t {
  kRounds,  // rounds of stores, a call, a system call and a string instruction; exits with 3
  kSpin,    // counts in memory and nowhere else, for ever
  kFill,    // fills kFillBytes with `rep stosb`, over and over
  kDirty,   // writes to every page of kDirtyBytes, over and over
};
inline constexpr GuestAddress kCode{0x401000};
inline constexpr GuestAddress kData{0x500000};
inline constexpr uint64_t kRounds = 12;
inline constexpr uint64_t kFillBytes = 64 << 20, kDirtyBytes = 64 << 20;

// Makes an executable file of it, which the caller removes, and returns its path.
std::string write_program(TinyGuest which);

// Places in kRounds.
GuestAddress subroutine();

// A guest that is being recorded.
class LiveGuest {
 public:
  explicit LiveGuest(TinyGuest which);
  ~LiveGuest();
  record::Recorder& recorder() { return *recorder_; }
  trace::EventLog& log() { return *log_; }
  LiveProgram& live() { return *live_; }
  Timeline& timeline() { return *timeline_; }

 private:
  std::string path_;
  std::unique_ptr<trace::EventLog> log_;
  std::unique_ptr<record::Recorder> recorder_;
  std::unique_ptr<LiveProgram> live_;
  std::unique_ptr<Timeline> timeline_;
};

// A timeline over the whole recording of a guest that ends.
class RecordedGuest {
 public:
  RecordedGuest();
  Timeline& timeline() { return *timeline_; }
  trace::EventLog& log() { return live_.log(); }

 private:
  LiveGuest live_{TinyGuest::kRounds};
  std::unique_ptr<Timeline> timeline_;
};

// A recording of kRounds in a file, with page snapshots wherever there can be one.
class SnapshottedGuest {
 public:
  SnapshottedGuest();
  // Of a command instead, with snapshots so far apart at least.
  explicit SnapshottedGuest(std::vector<std::string> command,
                            std::chrono::milliseconds interval = {});
  ~SnapshottedGuest();
  trace::TraceReader& reader() { return *reader_; }

 private:
  std::string program_, recording_;
  std::unique_ptr<trace::TraceReader> reader_;
};

// A recording, with something of it replaced on the way.
class AlteredRecording final : public trace::EventSource, public trace::SnapshotSource {
 public:
  explicit AlteredRecording(trace::TraceReader& real) : real_(real) {}
  std::function<void(EventNumber, trace::Event&)> alter_event;
  std::function<void(trace::SnapshotNumber, std::vector<snapshot::PageChange>&)> alter_pages;
  std::function<void(size_t, std::vector<trace::Event>&)> alter_beginning;
  bool hides_beginnings = false;
  std::function<void(trace::SnapshotNumber, trace::Snapshot&)> alter_snapshot;

  const trace::RecordingInfo& info() const override { return real_.info(); }
  uint64_t event_count() const override { return real_.event_count(); }
  Result<std::shared_ptr<const trace::Event>> event(EventNumber number) override {
    RCHK_TRY_ASSIGN(const auto event, real_.event(number));
    if (!alter_event) return event;
    auto copy = std::make_shared<trace::Event>(*event);
    alter_event(number, *copy);
    return copy;
  }
  trace::SnapshotSource* snapshots() override { return this; }
  std::vector<trace::FileInfo> files() const override { return real_.files(); }
  Result<trace::FileInfo> file_info(trace::FileId file) const override {
    return real_.file_info(file);
  }
  Result<Bytes> file_bytes(trace::FileId file, uint64_t offset_bytes,
                           uint64_t size_bytes) override {
    return real_.file_bytes(file, offset_bytes, size_bytes);
  }

  const std::vector<trace::SnapshotMark>& marks() const override { return taken().marks(); }
  Result<std::shared_ptr<const trace::Snapshot>> snapshot(trace::SnapshotNumber number) override {
    RCHK_TRY_ASSIGN(const auto snapshot, taken().snapshot(number));
    if (!alter_snapshot) return snapshot;
    auto copy = std::make_shared<trace::Snapshot>(*snapshot);
    alter_snapshot(number, *copy);
    return copy;
  }
  Result<std::vector<snapshot::PageChange>> changes(trace::SnapshotNumber number) override {
    return taken().changes(number);
  }
  Result<std::vector<snapshot::PageChange>> pages(trace::SnapshotNumber number) override {
    RCHK_TRY_ASSIGN(std::vector<snapshot::PageChange> pages, taken().pages(number));
    if (alter_pages) alter_pages(number, pages);
    return pages;
  }
  Result<std::shared_ptr<const Bytes>> page_chunk(uint32_t chunk) override {
    return taken().page_chunk(chunk);
  }
  const std::vector<EventNumber>& beginnings() const override {
    static const std::vector<EventNumber> kNone;
    return hides_beginnings ? kNone : taken().beginnings();
  }
  Result<std::shared_ptr<const std::vector<trace::Event>>> beginning(size_t index) override {
    RCHK_TRY_ASSIGN(const auto beginning, taken().beginning(index));
    if (!alter_beginning) return beginning;
    auto copy = std::make_shared<std::vector<trace::Event>>(*beginning);
    alter_beginning(index, *copy);
    return copy;
  }

 private:
  trace::SnapshotSource& taken() const { return *real_.snapshots(); }
  trace::TraceReader& real_;
};

// All that two visits to a position have to agree on.
struct State {
  Position position;
  Registers registers;
  ExtendedState extended_state;
  Bytes memory;  // some from kData on
};
State state_of(Timeline& timeline);
// What differs between two states, or nothing.
std::string difference(const State& expected, const State& found);
// As difference(), but wherever they are.
std::string difference_apart_from_position(const State& expected, const State& found);

RunCommand command(RunKind kind);
// A command to go on for so long.
RunCommand for_milliseconds(int milliseconds);

TimelineStop forward(Timeline& timeline, RunKind kind);
TimelineStop backward(Timeline& timeline, RunKind kind);

template <typename T>
T value_of(Result<T> result);

}  // namespace rchk::timeline::test

#include <gtest/gtest.h>

template <typename T>
T rchk::timeline::test::value_of(Result<T> result) {
  if (!result) {
    ADD_FAILURE() << result.error().message();
    std::abort();
  }
  return std::move(*result);
}
