#include "engine/replay/content_store.h"

#include "engine/trace/event_log.h"
#include "puppets.h"

namespace rchk::replay::test {
namespace {

class ContentStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    trace::FileInfo info;
    info.device = 5;
    info.inode = 6;
    info.size_bytes = 2 * kPageSize + 10;
    file_ = value_of(log_.add_file(info));
    Bytes bytes = filled(kPageSize, 'a');
    bytes.resize(2 * kPageSize, 'b');
    bytes.resize(info.size_bytes, 'c');
    EXPECT_DONE(log_.add_file_range(file_, 0, bytes));
    store_ = value_of(ContentStore::create(log_));
  }

  Puppet::Contents contents_of(uint64_t first_page, uint64_t count) {
    return value_of(store_->contents_of(
        of_file(pages(0, count), PROT_READ, file_.value, false, first_page * kPageSize)));
  }
  static std::string bytes_of(const Puppet::Contents& contents, uint64_t count) {
    std::string text(count, '?');
    const ssize_t got =
        pread(contents.fd, text.data(), count, static_cast<off_t>(contents.offset_bytes));
    text.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return text;
  }

  trace::EventLog log_{trace::RecordingInfo{}};
  trace::FileId file_;
  std::unique_ptr<ContentStore> store_;
};

TEST_F(ContentStoreTest, HasTheBytesOfAFileFromWholePagesOn) {
  const Puppet::Contents contents = contents_of(1, 2);
  EXPECT_EQ(kPageSize + 10, contents.available_bytes);
  EXPECT_EQ(0u, contents.offset_bytes % kPageSize);
  const std::string bytes = bytes_of(contents, 2 * kPageSize);
  EXPECT_EQ(std::string(kPageSize, 'b') + std::string(10, 'c') + std::string(kPageSize - 10, '\0'),
            bytes);
  EXPECT_EQ((SharedFile{5, 6}), contents.file);
  EXPECT_EQ(2 * kPageSize + 10, contents.file_size_bytes);
}

TEST_F(ContentStoreTest, KeepsOneCopyOfTheSamePart) {
  const Puppet::Contents first = contents_of(0, 2);
  const Puppet::Contents other = contents_of(1, 1);
  const Puppet::Contents again = contents_of(0, 2);
  EXPECT_EQ(first.offset_bytes, again.offset_bytes);
  EXPECT_NE(first.offset_bytes, other.offset_bytes);
  EXPECT_EQ("aa", bytes_of(again, 2));
  EXPECT_EQ("bb", bytes_of(other, 2));
}

TEST_F(ContentStoreTest, HasNothingBehindTheEndOfAFile) {
  const Puppet::Contents contents = contents_of(3, 2);
  EXPECT_EQ(0u, contents.available_bytes);
  EXPECT_EQ((SharedFile{5, 6}), contents.file);
}

TEST_F(ContentStoreTest, RefusesWhatWasNotRecorded) {
  EXPECT_FALSE(store_->contents_of(of_file(pages(0, 1), PROT_READ, 7, false)));
  trace::FileInfo info;
  info.size_bytes = kPageSize;
  const trace::FileId empty = value_of(log_.add_file(info));
  const auto contents = store_->contents_of(of_file(pages(0, 1), PROT_READ, empty.value, false));
  ASSERT_FALSE(contents);
  EXPECT_EQ(ErrorKind::kBadTrace, contents.error().kind);
}

}  // namespace
}  // namespace rchk::replay::test
