#include "gdbserver/protocol/file_service.h"

#include <cstdio>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "fake_client.h"
#include "fake_target.h"
#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {
namespace {

using ::testing::StartsWith;

class FileServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const int file = mkstemp(path_.data());
    ASSERT_GE(file, 0);
    ASSERT_EQ(write(file, "contents", 8), 8);
    close(file);
  }
  void TearDown() override { unlink(path_.c_str()); }
  std::string open(std::string_view path, std::string_view flags = "0") {
    return client_.ask(fmt::format("vFile:open:{},{},0", hex_of(path), flags));
  }

  std::string path_ = "/tmp/rchk-file-service-XXXXXX";
  testing::FakeTarget target_;
  testing::FakeClient client_{target_};
};

TEST_F(FileServiceTest, ReadsFiles) {
  EXPECT_EQ(client_.ask("vFile:setfs:0"), "F0");
  EXPECT_EQ(open(path_), "F0");
  EXPECT_EQ(open(path_), "F1");
  EXPECT_EQ(client_.ask("vFile:pread:0,100,0"), "F8;contents");
  EXPECT_EQ(client_.ask("vFile:pread:0,3,2"), "F3;nte");
  EXPECT_EQ(client_.ask("vFile:pread:0,3,100"), "F0;");
  EXPECT_EQ(client_.ask("vFile:close:0"), "F0");
  EXPECT_EQ(client_.ask("vFile:close:0"), "F-1,9");
  EXPECT_EQ(client_.ask("vFile:pread:0,3,0"), "F-1,9");
  EXPECT_EQ(open(path_), "F0");
}

TEST_F(FileServiceTest, TellsSizes) {
  open(path_);
  const std::string status = client_.ask("vFile:fstat:0");
  ASSERT_THAT(status, StartsWith("F40;"));
  ASSERT_EQ(status.size(), 4 + 64u);
  EXPECT_EQ(status.substr(4 + 28, 8), std::string("\0\0\0\0\0\0\0\x08", 8));
  EXPECT_EQ(client_.ask("vFile:size:" + hex_of(path_)), "F8");
  EXPECT_EQ(client_.ask("vFile:exists:" + hex_of(path_)), "F,1");
  EXPECT_EQ(client_.ask("vFile:exists:" + hex_of("/no/such")), "F,0");
}

TEST_F(FileServiceTest, FailsAsTheProtocolHasIt) {
  EXPECT_EQ(open("/no/such/file"), "F-1,2");
  EXPECT_EQ(open("/" + std::string(5000, 'x')), "F-1,5b");
  EXPECT_EQ(open(path_, "1"), "F-1,1e");
  EXPECT_EQ(open(path_, "601"), "F-1,1e");
  EXPECT_EQ(client_.ask("vFile:fstat:7"), "F-1,9");
  EXPECT_EQ(client_.ask("vFile:readlink:" + hex_of(path_)), "F-1,16");
  EXPECT_EQ(client_.ask("vFile:size:" + hex_of("/no/such")), "F-1,2");
  EXPECT_THAT(client_.ask("vFile:open:2f00,0,0"), StartsWith("E"));
  EXPECT_THAT(client_.ask("vFile:pread:0,1,ffffffffffffffff"), StartsWith("E"));
}

TEST_F(FileServiceTest, ReadsLinks) {
  const std::string link = path_ + ".link";
  ASSERT_EQ(symlink("some}where", link.c_str()), 0);
  EXPECT_EQ(client_.ask("vFile:readlink:" + hex_of(link)), "Fa;some}where");
  unlink(link.c_str());
  EXPECT_EQ(client_.ask("vFile:readlink:" + hex_of("/embedded.link")), "F9;/embedded");
}

TEST_F(FileServiceTest, PrefersWhatTheRecordingHolds) {
  EXPECT_EQ(open("/embedded"), "F0");
  EXPECT_EQ(client_.ask("vFile:pread:0,100,0"), "F5;emb}*");
  EXPECT_EQ(client_.ask("vFile:pread:0,100,3"), "F2;}*");
  EXPECT_EQ(client_.ask("vFile:pread:0,100,9"), "F0;");
  EXPECT_EQ(client_.ask("vFile:fstat:0").substr(4 + 28, 8), std::string("\0\0\0\0\0\0\0\x05", 8));
  EXPECT_EQ(client_.ask("vFile:size:" + hex_of("/embedded")), "F5");
  EXPECT_EQ(client_.ask("vFile:exists:" + hex_of("/embedded")), "F,1");
}

TEST_F(FileServiceTest, OpensNoMoreThanItCanCount) {
  for (int i = 0; i < 1000; ++i) open("/embedded");
  EXPECT_EQ(open("/embedded"), "F-1,18");
}

}  // namespace
}  // namespace rchk::protocol
