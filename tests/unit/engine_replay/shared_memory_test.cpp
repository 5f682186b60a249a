// Shared mappings of files in puppets: one memory for all views, and none for two puppets.

#include "engine/trace/event_log.h"
#include "puppets.h"

namespace rchk::replay::test {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

class TwoViews : public testing::Test {
 protected:
  void SetUp() override {
    EXPECT_DONE(puppet_->map(of_file(pages(0, 2), kReadWrite, 0, true), file_.all()));
    EXPECT_DONE(puppet_->map(of_file(pages(10, 2), PROT_READ | PROT_EXEC, 0, true), file_.all()));
  }

  FileContents file_{filled(2 * kPageSize, 'f')};
  std::unique_ptr<Puppet> puppet_ = new_puppet();
};

TEST_F(TwoViews, AreOneMemory) {
  EXPECT_EQ("fff", got(*puppet_, page(11), 3));
  put(*puppet_, page(1), "written");
  EXPECT_EQ("written", got(*puppet_, page(11), 7));
  // Over the border of two pages, through the view that the guest may not write.
  put(*puppet_, page(11) - 3, "across");
  EXPECT_EQ("across", got(*puppet_, page(1) - 3, 6));
}

TEST_F(TwoViews, ArePrivateToEachFork) {
  put(*puppet_, page(0), "before");
  const auto fork = value_of(puppet_->fork());
  put(*puppet_, page(0), "parent");
  EXPECT_EQ("before", got(*fork, page(10), 6));
  put(*fork, page(0), "child!");
  EXPECT_EQ("child!", got(*fork, page(10), 6));
  EXPECT_EQ("parent", got(*puppet_, page(10), 6));
  const auto second = value_of(fork->fork());
  put(*fork, page(10), "later!");
  EXPECT_EQ("child!", got(*second, page(0), 6));
}

TEST_F(TwoViews, OfOnePageAreOneCodePage) {
  EXPECT_TRUE(puppet_->code_page(page(10)).writable) << "by way of the other view";
  const uint64_t before = puppet_->code_page(page(10)).version;
  put(*puppet_, page(0), "\xc3");
  EXPECT_NE(before, puppet_->code_page(page(10)).version);
  EXPECT_DONE(puppet_->protect_code_page(page(10), true));
  const auto maps = value_of(snapshot::read_proc_maps(puppet_->pid()));
  EXPECT_EQ(PROT_READ, mapped_at(maps, page(0))->protection);
  EXPECT_EQ(kReadWrite, mapped_at(maps, page(1))->protection);
  EXPECT_EQ(kReadWrite, puppet_->space().find(page(0))->protection) << "the guest's view of it";
  EXPECT_DONE(puppet_->protect_code_page(page(10), false));
}

TEST_F(TwoViews, StayOneMemoryWhenOneIsMoved) {
  EXPECT_DONE(puppet_->remap({pages(10, 2), pages(30, 2), false}));
  put(*puppet_, page(0), "after");
  EXPECT_EQ("after", got(*puppet_, page(30), 5));
  EXPECT_DONE(puppet_->unmap_guest(pages(0, 2)));
  EXPECT_EQ("after", got(*puppet_, page(30), 5));
}

TEST(SharedMemory, ThatIsOnlyReadBecomesOneMemoryWhenItMayBeWritten) {
  const FileContents file(filled(kPageSize, 'f'));
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(of_file(pages(0, 1), PROT_READ, 0, true), file.all()));
  EXPECT_DONE(puppet->map(of_file(pages(5, 1), PROT_READ, 0, true), file.all()));
  EXPECT_DONE(puppet->protect(pages(5, 1), kReadWrite));
  put(*puppet, page(5), "written");
  EXPECT_EQ("written", got(*puppet, page(0), 7));
}

TEST(SharedMemory, OfAVersionOfTheFileThatWasRecordedLaterIsTheSame) {
  const FileContents file(filled(kPageSize, 'f'));
  const FileContents changed(filled(kPageSize, 'g'));
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(of_file(pages(0, 1), kReadWrite, 0, true), file.all()));
  EXPECT_DONE(puppet->map(of_file(pages(5, 1), kReadWrite, 1, true), changed.all()));
  EXPECT_EQ("gg", got(*puppet, page(0), 2));
}

// A fork of a live process shares its files' memory with it until it is adopted.
class AdoptedMemory : public testing::Test {
 protected:
  void SetUp() override {
    trace::FileInfo info;
    info.device = 5;
    info.inode = 6;
    info.size_bytes = 2 * kPageSize;
    ASSERT_TRUE(log_.add_file(info));
    // The recorded process: an empty one, that maps a file of the test's.
    original_ = new_puppet();
    EXPECT_DONE(original_->map(of_file(pages(0, 2), kReadWrite, 0, true), file_.all()));
    EXPECT_DONE(original_->map(of_file(pages(10, 2), PROT_READ, 0, true), file_.all()));
    snapshot::Mapping shared = anonymous(pages(20, 1), PROT_READ);
    shared.shared = true;
    EXPECT_DONE(original_->map(shared, {}));
    put(*original_, page(0), "original");
    put(*original_, page(20), "anonymous");
    // What a fork of it has there already makes no difference.
    const GuestAddress gadget = page(500);
    tracee::Tracee process = value_of(tracee::Tracee::spawn_empty(gadget, std::nullopt));
    adopted_ = value_of(Puppet::adopt({std::move(process), gadget, original_->space(),
                                       [this](GuestAddress address, std::span<uint8_t> bytes) {
                                         return original_->read_memory(address, bytes);
                                       }},
                                      log_));
  }

  FileContents file_{filled(2 * kPageSize, 'f')};
  trace::EventLog log_{trace::RecordingInfo{}};
  std::unique_ptr<Puppet> original_, adopted_;
};

TEST_F(AdoptedMemory, IsACopyOfTheOriginal) {
  EXPECT_EQ("originalff", got(*adopted_, page(0), 10));
  EXPECT_EQ("originalff", got(*adopted_, page(10), 10));
  EXPECT_EQ("ff", got(*adopted_, page(11), 2));
  EXPECT_EQ("anonymous", got(*adopted_, page(20), 9));
}

TEST_F(AdoptedMemory, IsOneMemoryForAllViews) {
  put(*adopted_, page(0), "changed");
  EXPECT_EQ("changed", got(*adopted_, page(10), 7));
  EXPECT_EQ("origina", got(*original_, page(0), 7));
}

TEST_F(AdoptedMemory, ForksLikeAnyOther) {
  const auto fork = value_of(adopted_->fork());
  put(*adopted_, page(0), "changed");
  EXPECT_EQ("original", got(*fork, page(10), 8));
  EXPECT_EQ("anonymous", got(*fork, page(20), 9));
}

}  // namespace
}  // namespace rchk::replay::test
