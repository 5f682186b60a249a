#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/trace/reader.h"
#include "engine/trace/writer.h"
#include "random_event.h"
#include "temporary_file.h"

namespace rchk::trace {
namespace {

void make_recording(const std::string& path, bool closed) {
  RandomEvents random(7);
  auto writer = TraceWriter::create(path, random.info());
  ASSERT_TRUE(writer) << writer.error().message();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE((*writer)->append(random.event()));
  if (closed) ASSERT_TRUE((*writer)->close());
}

uint64_t size_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0);
  return static_cast<uint64_t>(status.st_size);
}

TEST(Bookmarks, StayInTheRecording) {
  const TemporaryFile file;
  make_recording(file.path(), true);
  const Bookmark first{"here", 100, {17}, 23, 0};
  const Bookmark second{"a name of some length", 101, {99}, uint64_t{1} << 60, 4};
  for (const Bookmark& bookmark : {first, second}) {
    const auto reader = TraceReader::open(file.path());
    ASSERT_TRUE(reader) << reader.error().message();
    const auto added = (*reader)->add_bookmark(bookmark);
    ASSERT_TRUE(added) << added.error().message();
    EXPECT_EQ((*reader)->bookmarks().back(), bookmark);
  }
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_TRUE((*reader)->is_complete());
  EXPECT_EQ((*reader)->bookmarks(), (std::vector<Bookmark>{first, second}));
  EXPECT_EQ((*reader)->event_count(), 100u);
  const auto verified = (*reader)->verify();
  EXPECT_TRUE(verified) << verified.error().message();
}

TEST(Bookmarks, OfAFileThatIsCutOffInOneLeaveARecording) {
  const TemporaryFile file;
  make_recording(file.path(), true);
  const uint64_t before = size_of(file.path());
  {
    const auto reader = TraceReader::open(file.path());
    ASSERT_TRUE(reader);
    ASSERT_TRUE((*reader)->add_bookmark({"here", 100, {17}, 23, 0}));
  }
  const uint64_t behind = size_of(file.path());
  for (uint64_t size = behind - 1; size >= before; --size) {
    ASSERT_EQ(truncate(file.path().c_str(), static_cast<off_t>(size)), 0);
    const auto reader = TraceReader::open(file.path());
    ASSERT_TRUE(reader) << size << ": " << reader.error().message();
    ASSERT_EQ((*reader)->event_count(), 100u);
    ASSERT_EQ((*reader)->is_complete(), size == before);
  }
}

TEST(Bookmarks, AreRefusedWhereTheRecordingWasNotClosed) {
  const TemporaryFile file;
  make_recording(file.path(), false);
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader) << reader.error().message();
  const auto added = (*reader)->add_bookmark({"here", 100, {17}, 23, 0});
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().kind, ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace rchk::trace
