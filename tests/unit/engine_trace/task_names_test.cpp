#include <gtest/gtest.h>

#include "engine/trace/event_log.h"
#include "engine/trace/reader.h"
#include "engine/trace/task_names.h"
#include "engine/trace/writer.h"
#include "random_event.h"
#include "temporary_file.h"

namespace rchk::trace {
namespace {

TEST(TaskNames, AreThoseOfTheTime) {
  TaskNames names;
  names.add({{0}, {7}, "first"});
  names.add({{5}, {7}, "second"});
  names.add({{5}, {7}, "third"});
  names.add({{6}, {8}, "other"});
  EXPECT_EQ(names.at({0}, {7}), "first");
  EXPECT_EQ(names.at({4}, {7}), "first");
  EXPECT_EQ(names.at({5}, {7}), "third");
  EXPECT_EQ(names.at({900}, {7}), "third");
  EXPECT_EQ(names.at({5}, {8}), "");
  EXPECT_EQ(names.at({6}, {8}), "other");
  EXPECT_EQ(names.at({6}, {9}), "");
}

void expect_names(const EventSource& source) {
  EXPECT_EQ(source.task_name({0}, {1}), "");
  for (uint64_t event = 1; event < 300; ++event) {
    EXPECT_EQ(source.task_name({event}, {1}), event < 200 ? std::string("a\xff<") : "renamed");
    EXPECT_EQ(source.task_name({event}, {2}), event < 299 ? "" : "late");
  }
}

void name_some(EventSink& sink) {
  RandomEvents events(11);
  EXPECT_FALSE(sink.name_task({1}, "early"));  // no event yet
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(sink.append(events.event()));
    if (i == 1) ASSERT_TRUE(sink.name_task({1}, "a\xff<"));
    if (i == 200) ASSERT_TRUE(sink.name_task({1}, "renamed"));
    if (i == 250) ASSERT_TRUE(sink.flush());
    if (i == 299) ASSERT_TRUE(sink.name_task({2}, "late"));
  }
}

TEST(TaskNames, AreInRecordings) {
  const TemporaryFile file;
  {
    const auto writer = TraceWriter::create(file.path(), {});
    ASSERT_TRUE(writer);
    name_some(**writer);
    ASSERT_TRUE((*writer)->close());
  }
  const auto reader = TraceReader::open(file.path());
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_TRUE((*reader)->verify());
  expect_names(**reader);
}

TEST(TaskNames, AreInMemory) {
  EventLog log({});
  name_some(log);
  expect_names(log);
}

}  // namespace
}  // namespace rchk::trace
