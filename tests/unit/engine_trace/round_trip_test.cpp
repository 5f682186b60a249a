#include <chrono>
#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "engine/trace/codec.h"
#include "engine/trace/event_log.h"
#include "engine/trace/reader.h"
#include "engine/trace/writer.h"
#include "random_event.h"
#include "temporary_file.h"

namespace rchk::trace {
namespace {

using ::testing::HasSubstr;

class Codec : public ::testing::TestWithParam<uint64_t> {};

TEST_P(Codec, RoundTripsEveryKindOfEventWithRandomValues) {
  RandomEvents random(GetParam() + 1);
  BatchEncoder encoder;
  std::vector<Event> events;
  for (uint64_t i = 0; i < 300; ++i) {
    events.push_back({random.number(), random.body(GetParam())});
    encoder.add(events.back());
  }
  const uint32_t count = encoder.count();
  const auto decoded = decode_batch(encoder.take(), count, "test", 0);
  ASSERT_TRUE(decoded) << decoded.error().message();
  ASSERT_EQ(decoded->size(), events.size());
  for (size_t i = 0; i < events.size(); ++i) ASSERT_EQ((*decoded)[i], events[i]) << i;
}

INSTANTIATE_TEST_SUITE_P(Kinds, Codec,
                         ::testing::Range<uint64_t>(0, std::variant_size_v<EventBody>));

TEST(Codec, RefusesABatchCutAnywhere) {
  RandomEvents random(3);
  BatchEncoder encoder;
  for (int i = 0; i < 20; ++i) encoder.add(random.event());
  const Bytes bytes = encoder.take();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_batch(ByteView(bytes).first(size), 20, "test", 0)) << size;
  }
  EXPECT_FALSE(decode_batch(bytes, 19, "test", 0));
  EXPECT_FALSE(decode_batch(bytes, 21, "test", 0));
}

TEST(Codec, RoundTripsTheFactsOfARecording) {
  RandomEvents random(4);
  for (int i = 0; i < 50; ++i) {
    const RecordingInfo info = random.info();
    const Bytes bytes = encode_info(info);
    const auto decoded = decode_info(bytes, "test", 0);
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_TRUE(same_info(*decoded, info));
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(decode_info(ByteView(bytes).first(size), "test", 0));
    }
  }
}

TEST(Codec, SpendsFewBytesOnASystemCallInALoop) {
  BatchEncoder encoder;
  SyscallEvent event;
  event.before.rip = 0x7ffff7ea0123;
  event.before.rsp = 0x7fffffffe000;
  event.before.rax = 1;
  event.number = 1;
  for (uint64_t i = 0; i < 1000; ++i) {
    event.before.rsi += 16;
    event.after = event.before;
    event.after.rip += 2;
    event.after.rcx = event.after.rip;
    event.after.r11 = event.before.rflags;
    event.after.orig_rax = 1;
    event.after.rax = 16;
    encoder.add({i * 3000, event});
  }
  EXPECT_LE(encoder.size_bytes(), 1000u * 14);
}

// Feeds two files and `count` events to a sink.
void record(EventSink& sink, std::vector<Event>& events, size_t count, uint64_t seed = 5) {
  RandomEvents random(seed);
  FileInfo first;
  first.path = "/lib/first.so";
  first.size_bytes = 10000;
  first.mtime_ns = -5;
  FileInfo second = first;
  second.path = "/lib/second.so";
  second.size_bytes = 5 << 20;
  ASSERT_EQ(sink.add_file(first)->value, 0u);
  ASSERT_EQ(sink.add_file(second)->value, 1u);
  ASSERT_TRUE(sink.add_file_range({0}, 4096, Bytes(5904, 'a')));
  ASSERT_TRUE(sink.add_file_range({0}, 0, Bytes(8192, 'b')));  // the second half is there
  ASSERT_TRUE(sink.add_file_range({1}, 1 << 20, Bytes(3 << 20, 'c')));
  for (size_t i = 0; i < count; ++i) {
    events.push_back(random.event());
    const auto number = sink.append(events.back());
    ASSERT_TRUE(number) << number.error().message();
    ASSERT_EQ(number->value, i);
  }
}

void expect_recorded(EventSource& source, const std::vector<Event>& events) {
  ASSERT_EQ(source.event_count(), events.size());
  for (size_t i = 0; i < events.size(); ++i) {
    const auto event = source.event({i});
    ASSERT_TRUE(event) << event.error().message();
    ASSERT_EQ(**event, events[i]) << i;
  }
  for (size_t step = 0; step < 40 && !events.empty(); ++step) {
    const size_t i = step * 7919 % events.size();
    ASSERT_EQ(**source.event({i}), events[i]) << i;
  }
  const auto beyond = source.event({events.size()});
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().kind, ErrorKind::kMisuse);

  ASSERT_EQ(source.files().size(), 2u);
  EXPECT_EQ(source.file_info({0})->path, "/lib/first.so");
  EXPECT_EQ(source.file_info({0})->mtime_ns, -5);
  EXPECT_EQ(source.file_info({1})->id.value, 1u);
  EXPECT_FALSE(source.file_info({2}));
  Bytes expected(4096, 'b');
  expected.insert(expected.end(), 5904, 'a');
  expected.resize(12288);  // zero behind the file's end
  EXPECT_EQ(*source.file_bytes({0}, 0, 12288), expected);
  EXPECT_EQ(*source.file_bytes({1}, (1 << 20) + 5, 2 << 20), Bytes(2 << 20, 'c'));
  const auto lacking = source.file_bytes({1}, 4096, 4096);
  ASSERT_FALSE(lacking);
  EXPECT_EQ(lacking.error().kind, ErrorKind::kBadTrace);
  EXPECT_THAT(lacking.error().message(), HasSubstr("/lib/second.so at 0x1000"));
  EXPECT_FALSE(source.file_bytes({2}, 0, 1));
  EXPECT_FALSE(source.file_bytes({0}, ~uint64_t{0}, 2));
}

TEST(Recording, ReadsBackFromAFile) {
  const TemporaryFile file;
  RandomEvents random(6);
  const RecordingInfo info = random.info();
  std::vector<Event> events;
  auto writer = TraceWriter::create(file.path(), info);
  ASSERT_TRUE(writer) << writer.error().message();
  record(**writer, events, 5000);
  ASSERT_TRUE((*writer)->close());
  EXPECT_FALSE((*writer)->append(events[0]));

  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_TRUE((*reader)->is_complete());
  EXPECT_EQ((*reader)->torn_tail_note(), "");
  EXPECT_TRUE(same_info((*reader)->info(), info));
  EXPECT_TRUE((*reader)->verify());
  expect_recorded(**reader, events);
}

TEST(Recording, ReadsBackFromMemoryWhileItGrows) {
  EventLog log(RandomEvents(6).info());
  std::vector<Event> events;
  record(log, events, 5000);
  expect_recorded(log, events);
  RandomEvents random(9);
  for (int i = 0; i < 6000; ++i) {
    events.push_back(random.event());
    const EventNumber number = *log.append(events.back());
    if (i % 7 == 0) {
      ASSERT_EQ(**log.event(number), events.back());
    }
  }
  expect_recorded(log, events);
}

TEST(Recording, IsReadByOneThreadWhileAnotherWrites) {
  const TemporaryFile file;
  RandomEvents random(13);
  std::vector<Event> events;
  for (int i = 0; i < 12000; ++i) events.push_back(random.event());
  EventLog log({});
  auto writer = TraceWriter::create(file.path(), {});
  ASSERT_TRUE(writer);
  TeeSink tee(log, **writer);
  std::thread reader([&] {
    for (uint64_t number = 0; number < events.size();) {
      if (number >= log.event_count()) {
        std::this_thread::yield();
        continue;
      }
      const auto event = log.event({number});
      ASSERT_TRUE(event) << event.error().message();
      ASSERT_EQ(**event, events[number]) << number;
      ++number;
    }
  });
  for (const Event& event : events) ASSERT_TRUE(tee.append(event));
  reader.join();
  ASSERT_TRUE(tee.close());
  EXPECT_EQ((*TraceReader::open(file.path()))->event_count(), events.size());
}

TEST(Recording, FeedsTwoSinksAlike) {
  const TemporaryFile file;
  EventLog log(RandomEvents(6).info());
  auto writer = TraceWriter::create(file.path(), log.info());
  ASSERT_TRUE(writer);
  TeeSink tee(log, **writer);
  std::vector<Event> events;
  record(tee, events, 700);
  ASSERT_TRUE(tee.flush());
  expect_recorded(log, events);
  ASSERT_TRUE(tee.close());
  expect_recorded(**TraceReader::open(file.path()), events);
}

TEST(Recording, IsReadableAfterFlushWithoutClose) {
  const TemporaryFile file;
  std::vector<Event> events;
  auto writer = TraceWriter::create(file.path(), {});
  ASSERT_TRUE(writer);
  record(**writer, events, 10);
  ASSERT_TRUE((*writer)->flush());
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_FALSE((*reader)->is_complete());
  EXPECT_THAT((*reader)->torn_tail_note(), HasSubstr("was not closed"));
  expect_recorded(**reader, events);
}

TEST(Recording, WritesEventsSoonWithoutFlush) {
  const TemporaryFile file;
  std::vector<Event> events;
  auto writer = TraceWriter::create(file.path(), {});
  ASSERT_TRUE(writer);
  record(**writer, events, 10);
  uint64_t count = 0;
  for (int i = 0; i < 100 && count != 10; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const auto reader = TraceReader::open(file.path());
    if (reader) count = (*reader)->event_count();
  }
  EXPECT_EQ(count, 10u);
}

TEST(Recording, IsItsOwnersAlone) {
  const TemporaryFile file;
  unlink(file.path().c_str());
  ASSERT_TRUE(TraceWriter::create(file.path(), {}));
  struct stat status;
  ASSERT_EQ(stat(file.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 077, 0u);
}

TEST(Recording, RefusesContentsOfAFileThatWasNotAdded) {
  const TemporaryFile file;
  auto writer = TraceWriter::create(file.path(), {});
  ASSERT_TRUE(writer);
  EXPECT_EQ((*writer)->add_file_range({0}, 0, Bytes(1)).error().kind, ErrorKind::kMisuse);
  EXPECT_EQ(EventLog({}).add_file_range({0}, 0, Bytes(1)).error().kind, ErrorKind::kMisuse);
}

TEST(Recording, CannotBeginWhereNothingCanBeWritten) {
  // Writing to /dev/full fails with ENOSPC (full(4)).
  const auto none = TraceWriter::create("/dev/full", {});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().errno_value, ENOSPC);
  const auto nowhere = TraceWriter::create("/nonexistent/folder/file", {});
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().errno_value, ENOENT);
}

TEST(Recording, SurfacesTheErrorsOfItsWorkerAndKeepsWhatWasWritten) {
  const TemporaryFile file;
  auto writer = TraceWriter::create(file.path(), {});
  ASSERT_TRUE(writer);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_action = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{1 << 20, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  RandomEvents random(17);
  std::vector<Event> events;
  Result<void> failed;
  while (failed && events.size() < 100'000) {
    events.push_back(random.event());
    const auto number = (*writer)->append(events.back());
    if (!number) failed = tl::make_unexpected(number.error());
  }
  EXPECT_FALSE((*writer)->flush());
  EXPECT_FALSE((*writer)->close());
  EXPECT_FALSE((*writer)->append(events[0]));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_action);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().errno_value, EFBIG);
  EXPECT_THAT(failed.error().message(), HasSubstr(file.path()));

  writer->reset();
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_THAT((*reader)->torn_tail_note(), HasSubstr("are lost"));
  ASSERT_GT((*reader)->event_count(), 0u);
  for (uint64_t i = 0; i < (*reader)->event_count(); ++i) {
    ASSERT_EQ(**(*reader)->event({i}), events[i]);
  }
}

}  // namespace
}  // namespace rchk::trace
