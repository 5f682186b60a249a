#include <csignal>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/trace/reader.h"
#include "engine/trace/writer.h"
#include "file_builder.h"
#include "random_event.h"
#include "temporary_file.h"

namespace rchk::trace {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint64_t kFirstChunk = kFrontBytes + sizeof(FileHeader);

std::vector<Event> some_events(size_t count, uint64_t seed = 21) {
  RandomEvents random(seed);
  std::vector<Event> events;
  for (size_t i = 0; i < count; ++i) {
    events.push_back({i, random.body(1 + i % 2)});  // system calls and traps: small ones
  }
  return events;
}

Result<std::unique_ptr<TraceReader>> open_bytes(ByteView bytes) {
  FileDescriptor file(memfd_create("recording", MFD_CLOEXEC));
  EXPECT_EQ(pwrite(file.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return TraceReader::open(std::move(file), "test recording");
}

// A recording of several chunks of every kind, which was closed or not.
FileBuilder small_recording(bool closed, const std::vector<Event>& events) {
  const auto part = [&](size_t begin, size_t end) {
    return std::vector<Event>(events.begin() + static_cast<ptrdiff_t>(begin),
                              events.begin() + static_cast<ptrdiff_t>(end));
  };
  FileInfo file;
  file.path = "/lib/x.so";
  file.size_bytes = 8192;
  FileBuilder builder;
  builder.info()
      .events(part(0, 2), 0)
      .chunk(ChunkType::kFileInfo, encode_file_info(file), 0, 0)
      .chunk(ChunkType::kFileContents, Bytes(8192, 'x'), 0, 0)
      .events(part(2, 5), 2)
      .events(part(5, 6), 5);
  if (closed) builder.end();
  return builder;
}

void expect_prefix(TraceReader& reader, const std::vector<Event>& events) {
  ASSERT_LE(reader.event_count(), events.size());
  for (uint64_t i = 0; i < reader.event_count(); ++i) {
    const auto event = reader.event({i});
    ASSERT_TRUE(event) << event.error().message();
    ASSERT_EQ(**event, events[i]);
  }
}

TEST(Damage, IsUsableUpToTheLastWholeChunkWhereverItIsTorn) {
  const TemporaryFile file;
  const std::vector<Event> events = some_events(6);
  for (const bool closed : {false, true}) {
    const Bytes whole = small_recording(closed, events).bytes();
    file.write(whole);
    uint64_t most = 0;
    for (uint64_t size = whole.size() - 1; size > 0; size -= size <= kFrontBytes ? 997 : 1) {
      ASSERT_EQ(truncate(file.path().c_str(), static_cast<off_t>(size)), 0);
      const auto reader = TraceReader::open(file.path());
      if (!reader) {
        EXPECT_EQ(reader.error().kind, ErrorKind::kBadTrace);
        EXPECT_THAT(reader.error().message(), HasSubstr(file.path()));
        if (size <= 997) break;
        continue;
      }
      ASSERT_FALSE((*reader)->is_complete()) << size;
      ASSERT_NE((*reader)->torn_tail_note(), "");
      ASSERT_TRUE((*reader)->verify());
      expect_prefix(**reader, events);
      most = std::max(most, (*reader)->event_count());
    }
    EXPECT_EQ(most, closed ? 6u : 5u);
  }
}

TEST(Damage, FindsOneFlippedByteAnywhere) {
  const std::vector<Event> events = some_events(6);
  for (const bool closed : {false, true}) {
    const Bytes whole = small_recording(closed, events).bytes();
    for (uint64_t at = kFrontBytes; at < whole.size(); ++at) {
      Bytes damaged = whole;
      damaged[at] ^= static_cast<uint8_t>(1 << at % 8);
      const auto reader = open_bytes(damaged);
      if (!reader) {
        EXPECT_EQ(reader.error().kind, ErrorKind::kBadTrace) << at;
        continue;
      }
      // Damage of the last chunk is told as a torn tail, any other by verify().
      const auto verified = (*reader)->verify();
      if (verified) {
        ASSERT_FALSE((*reader)->is_complete()) << "the flip at " << at << " went unseen";
        ASSERT_THAT((*reader)->torn_tail_note(), HasSubstr("are lost"));
        expect_prefix(**reader, events);
        ASSERT_TRUE(closed || (*reader)->event_count() < 6) << at;
      } else {
        EXPECT_THAT(verified.error().message(), HasSubstr("offset "));
      }
    }
  }
}

TEST(Damage, BeforeTheTailIsRefusedNamingTheOffset) {
  Bytes damaged = small_recording(false, some_events(6)).bytes();
  damaged[kFirstChunk + 4] ^= 1;
  const auto reader = open_bytes(damaged);
  ASSERT_FALSE(reader);
  EXPECT_THAT(reader.error().message(),
              AllOf(HasSubstr(fmt::format("offset {}", kFirstChunk)),
                    HasSubstr("checksum is wrong, and a chunk follows at")));
}

TEST(Damage, ATailOfZerosIsTorn) {
  // What a file system may leave after a crash of the machine.
  const std::vector<Event> events = some_events(6);
  FileBuilder builder = small_recording(false, events);
  const uint64_t end = builder.bytes().size();
  const auto reader = open_bytes(builder.raw(Bytes(100'000)).bytes());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_EQ((*reader)->event_count(), 6u);
  EXPECT_THAT((*reader)->torn_tail_note(),
              AllOf(HasSubstr(fmt::format("up to offset {}", end)), HasSubstr("100000 bytes")));
}

TEST(Damage, ALastChunkWithoutItsContentsIsTorn) {
  const std::vector<Event> events = some_events(6);
  FileBuilder builder = small_recording(false, events);
  Bytes bytes = builder.bytes();
  std::fill(bytes.begin() + static_cast<ptrdiff_t>(builder.last_offset() + sizeof(ChunkHeader)),
            bytes.end(), uint8_t{0});
  const auto reader = open_bytes(bytes);
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_EQ((*reader)->event_count(), 5u);
  EXPECT_THAT((*reader)->torn_tail_note(), HasSubstr("contents are damaged"));
}

TEST(Damage, ChunksOfAnotherRecordingInATailAreNoChunks) {
  // As when a program was recorded that read a recording.
  FileBuilder builder = small_recording(false, some_events(6));
  ChunkHeader foreign;
  const Bytes embedded = [&] {
    ChunkEncoder encoder(5);
    const ByteView view = encoder.encode(foreign, Bytes(10));
    return Bytes(view.begin(), view.end());
  }();
  builder.raw(Bytes(70, 'x')).raw(embedded);
  const auto reader = open_bytes(builder.bytes());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_EQ((*reader)->event_count(), 6u);
}

TEST(Compatibility, SkipsChunksOfUnknownTypes) {
  const std::vector<Event> events = some_events(3);
  for (const bool closed : {false, true}) {
    FileBuilder builder;
    builder.info().chunk(9999, Bytes(50, 'n')).events(events, 0).chunk(7777, {});
    if (closed) builder.end();
    const auto reader = open_bytes(builder.bytes());
    ASSERT_TRUE(reader) << reader.error().message();
    EXPECT_EQ((*reader)->is_complete(), closed);
    EXPECT_TRUE((*reader)->verify());
    EXPECT_EQ((*reader)->event_count(), 3u);
    expect_prefix(**reader, events);
  }
}

TEST(Compatibility, SkipsUnknownTypesOfAnyVersionAndEncoding) {
  FileBuilder builder;
  builder.info().chunk(9999, Bytes(50, 'n')).change_last([](ChunkHeader& header) {
    header.version = 17;
    header.encoding = 99;
  });
  const auto reader = open_bytes(builder.events(some_events(1), 0).end().bytes());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_TRUE((*reader)->verify());
}

TEST(Compatibility, RefusesANewerMajorVersionNamingBoth) {
  const auto reader = open_bytes(FileBuilder().version(7, 3).info().end().bytes());
  ASSERT_FALSE(reader);
  EXPECT_EQ(reader.error().kind, ErrorKind::kBadTrace);
  EXPECT_THAT(reader.error().message(),
              AllOf(HasSubstr("version 7.3"), HasSubstr("reads version 1")));
}

TEST(Compatibility, ReadsANewerMinorVersion) {
  EXPECT_TRUE(open_bytes(FileBuilder().version(1, 200).info().end().bytes()));
}

TEST(Compatibility, RefusesANewerVersionOfAChunkNamingBoth) {
  FileBuilder builder;
  builder.info().events(some_events(1), 0).change_last([](ChunkHeader& header) {
    header.version = 6;
  });
  const auto reader = open_bytes(builder.end().bytes());
  ASSERT_TRUE(reader) << reader.error().message();
  const auto event = (*reader)->event({0});
  ASSERT_FALSE(event);
  EXPECT_THAT(event.error().message(),
              AllOf(HasSubstr("version 6"), HasSubstr("reads versions 3 to 5")));
}

TEST(Compatibility, ABatchIsOfAnOlderVersionUnlessOneOfItsEventsNeedsMore) {
  trace::BatchEncoder batch;
  batch.add({1, trace::SwitchEvent(), {5}});
  EXPECT_EQ(batch.version(), 3);
  trace::SwitchEvent by_snapshot;
  by_snapshot.place = trace::Place::kBySnapshot;
  batch.add({2, by_snapshot, {5}});
  EXPECT_EQ(batch.version(), 4);
  batch.take();
  EXPECT_EQ(batch.version(), 3);
}

TEST(NoRecording, IsRefusedWithAReason) {
  const auto reason = [&](ByteView bytes) {
    const auto reader = open_bytes(bytes);
    EXPECT_FALSE(reader);
    return reader ? std::string() : reader.error().message();
  };
  EXPECT_THAT(reason({}), HasSubstr("is empty"));
  EXPECT_THAT(reason(Bytes(1, 'x')), HasSubstr("not an rchk recording"));
  EXPECT_THAT(reason(Bytes(200'000, 'x')), HasSubstr("not an rchk recording"));
  EXPECT_THAT(reason(ByteView(FileBuilder().bytes()).first(1000)), HasSubstr("ends before"));
  EXPECT_THAT(reason(FileBuilder().bytes()), HasSubstr("ends before"));
  EXPECT_THAT(reason(FileBuilder().events(some_events(1), 0).bytes()), HasSubstr("first chunk"));
  EXPECT_THAT(reason(FileBuilder().info().info().bytes()), HasSubstr("first chunk"));
  EXPECT_EQ(TraceReader::open("/nonexistent").error().errno_value, ENOENT);
  EXPECT_THAT(TraceReader::open("/tmp").error().message(), HasSubstr("not a regular file"));
  EXPECT_THAT(TraceReader::open("/dev/null").error().message(), HasSubstr("not a regular file"));
}

// A file whose checksums are all right and whose contents are not.
class Hostile : public ::testing::Test {
 protected:
  static std::string reason(const FileBuilder& builder) {
    const auto reader = open_bytes(builder.bytes());
    if (!reader) return reader.error().message();
    const auto verified = (*reader)->verify();
    return verified ? "" : verified.error().message();
  }
};

TEST_F(Hostile, EventsThatDoNotFollowOneAnother) {
  FileBuilder builder;
  builder.info().events(some_events(2), 0).events(some_events(2), 3).end();
  EXPECT_THAT(reason(builder), HasSubstr("number 2 comes next"));
}

TEST_F(Hostile, BatchesWithoutEventsOrWithTooMany) {
  EXPECT_NE(reason(FileBuilder().info().chunk(ChunkType::kEvents, {}, 0, 0).end()), "");
  EXPECT_NE(reason(FileBuilder().info().chunk(ChunkType::kEvents, Bytes(9), 0, 100).end()), "");
  EXPECT_NE(reason(FileBuilder().info().chunk(ChunkType::kEvents, Bytes(9), 0, UINT32_MAX).end()),
            "");
}

TEST_F(Hostile, SizesThatAreLies) {
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, kMaxChunkBytes, kMaxChunkBytes + 1,
                              UINT64_MAX, UINT64_MAX - kFirstChunk}) {
    FileBuilder raw_size;
    raw_size.info().events(some_events(20), 0).change_last([&](ChunkHeader& header) {
      ASSERT_EQ(header.encoding, static_cast<uint8_t>(Encoding::kZstd));
      header.raw_bytes = size;
    });
    EXPECT_NE(reason(raw_size.end()), "") << size;
    FileBuilder stored_size;
    stored_size.info().events(some_events(20), 0).change_last([&](ChunkHeader& header) {
      header.stored_bytes = size;
    });
    EXPECT_NE(reason(stored_size.end()), "") << size;
  }
}

TEST_F(Hostile, ContentsOfFilesThatAreUnknownOrOutOfBounds) {
  const Bytes bytes(10);
  EXPECT_THAT(reason(FileBuilder().info().chunk(ChunkType::kFileContents, bytes, 0, 0).end()),
              HasSubstr("unknown file 0"));
  FileInfo info;
  const Bytes facts = encode_file_info(info);
  EXPECT_NE(reason(FileBuilder()
                       .info()
                       .chunk(ChunkType::kFileInfo, facts)
                       .chunk(ChunkType::kFileContents, bytes, UINT64_MAX - 5, 0)
                       .end()),
            "");
  EXPECT_NE(reason(FileBuilder()
                       .info()
                       .chunk(ChunkType::kFileInfo, facts)
                       .chunk(ChunkType::kFileContents, Bytes(kFilePieceBytes + 1), 0, 0)
                       .end()),
            "");
  EXPECT_THAT(reason(FileBuilder().info().chunk(ChunkType::kFileInfo, facts, 0, 1).end()),
              HasSubstr("file 0 comes next"));
}

TEST_F(Hostile, IndicesThatDoNotFitTheFile) {
  for (const uint64_t offset :
       {uint64_t{0}, kFrontBytes, kFirstChunk, UINT64_MAX, uint64_t{1} << 40}) {
    FileBuilder builder;
    builder.info().events(some_events(2), 0).end();
    builder.change_last([&](ChunkHeader& header) { header.key = offset; });
    EXPECT_NE(reason(builder), "") << offset;
  }
  FileBuilder leaves_out;
  leaves_out.info().events(some_events(2), 0);
  const uint64_t index = leaves_out.bytes().size();
  leaves_out.chunk(ChunkType::kIndex, encode_index({})).chunk(ChunkType::kEnd, {}, index);
  EXPECT_THAT(reason(leaves_out), HasSubstr("leaves chunks out"));
}

TEST_F(Hostile, UnknownEncodingsOfKnownChunks) {
  FileBuilder builder;
  builder.info().events(some_events(2), 0).change_last([](ChunkHeader& header) {
    header.encoding = 2;
  });
  EXPECT_THAT(reason(builder.end()), HasSubstr("unknown encoding 2"));
}

TEST_F(Hostile, RandomlyMutatedContentsNeverCrashTheReader) {
  RandomEvents random(77);
  uint64_t refused = 0;
  for (int round = 0; round < 1500; ++round) {
    BatchEncoder encoder;
    for (int i = 0; i < 8; ++i) encoder.add(random.event());
    const uint32_t count = encoder.count();
    Bytes bytes = encoder.take();
    for (uint64_t flips = 1 + random.below(4); flips > 0; --flips) {
      bytes[random.below(bytes.size())] = static_cast<uint8_t>(random.number());
    }
    if (random.below(4) == 0) bytes.resize(random.below(bytes.size()));
    refused += decode_batch(bytes, count, "mutated", 0) ? 0 : 1;
  }
  EXPECT_GT(refused, 100u);
}

TEST_F(Hostile, RandomlyMutatedFilesNeverCrashTheReader) {
  RandomEvents random(78);
  const Bytes whole = small_recording(true, some_events(6)).bytes();
  for (int round = 0; round < 1500; ++round) {
    Bytes bytes = whole;
    for (uint64_t flips = 1 + random.below(8); flips > 0; --flips) {
      bytes[kFrontBytes + random.below(bytes.size() - kFrontBytes)] =
          static_cast<uint8_t>(random.number());
    }
    const auto reader = open_bytes(bytes);
    if (reader) EXPECT_FALSE((*reader)->verify() && (*reader)->is_complete() && bytes != whole);
  }
}

TEST(Crash, LeavesAReadableRecording) {
  const TemporaryFile file;
  const std::vector<Event> events = some_events(9000);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto writer = TraceWriter::create(file.path(), {});
    if (!writer) _exit(1);
    for (const Event& event : events) {
      if (!(*writer)->append(event)) _exit(1);
    }
    if (!(*writer)->flush()) _exit(1);
    kill(getpid(), SIGKILL);
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_FALSE((*reader)->is_complete());
  EXPECT_EQ((*reader)->event_count(), events.size());
  expect_prefix(**reader, events);
}

}  // namespace
}  // namespace rchk::trace
