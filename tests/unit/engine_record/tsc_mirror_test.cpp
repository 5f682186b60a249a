#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "engine/record/recorder.h"
#include "engine/trace/writer.h"

namespace rchk::record::test {
namespace {

// Passes everything on to a file's writer, and looks behind each event whether the recorder's own
// thread still has its time stamp counter trapped: whatever read it has made recording slow.
class WatchingSink final : public trace::EventSink {
 public:
  explicit WatchingSink(trace::EventSink& sink) : sink_(sink) {}
  Result<trace::FileId> add_file(const trace::FileInfo& info) override {
    return sink_.add_file(info);
  }
  Result<void> add_file_range(trace::FileId file, uint64_t offset_bytes, ByteView bytes) override {
    return sink_.add_file_range(file, offset_bytes, bytes);
  }
  Result<EventNumber> append(const trace::Event& event) override {
    auto number = sink_.append(event);
    if (std::holds_alternative<trace::SyscallEvent>(event.body)) {
      int mode = 0;
      prctl(PR_GET_TSC, &mode);
      ++calls_;
      if (mode != PR_TSC_SIGSEGV) ++untrapped_;
    }
    return number;
  }
  Result<void> flush() override { return sink_.flush(); }
  Result<void> close() override { return sink_.close(); }

  uint64_t calls() const { return calls_; }
  uint64_t untrapped() const { return untrapped_; }

 private:
  trace::EventSink& sink_;
  uint64_t calls_ = 0;
  uint64_t untrapped_ = 0;
};

TEST(TscMirror, StaysOnWhileAFileIsWritten) {
  RecorderOptions options;
  options.program.arguments = {"/bin/ls", "/"};
  const FileDescriptor null(open("/dev/null", O_WRONLY | O_CLOEXEC));
  options.program.standard_fds = {0, null.get(), null.get()};
  const trace::RecordingInfo info = Recorder::describe(options);
  if (!info.tsc_trapped) GTEST_SKIP() << "the time stamp counter cannot be trapped here";
  const std::string path = testing::TempDir() + "tsc_mirror.rchk";
  auto writer = trace::TraceWriter::create(path, info);
  ASSERT_TRUE(writer) << writer.error().message();
  WatchingSink sink(**writer);
  auto recorder = Recorder::start(options, sink);
  ASSERT_TRUE(recorder) << recorder.error().message();
  const auto stop = (*recorder)->run({});
  ASSERT_TRUE(stop) << stop.error().message();
  EXPECT_EQ(stop->cause, StopCause::kExited);
  EXPECT_GT(sink.calls(), 20u);
  EXPECT_EQ(sink.untrapped(), 0u);
  ASSERT_TRUE((*writer)->close());
  unlink(path.c_str());
}

}  // namespace
}  // namespace rchk::record::test
