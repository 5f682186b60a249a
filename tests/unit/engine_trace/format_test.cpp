#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "file_builder.h"

namespace rchk::trace {
namespace {

// The recording of the worked example in docs/trace-format.md.
Bytes worked_example() {
  RecordingInfo info;
  info.rchk_version = "0.1.0";
  info.kernel_release = "6.1";
  info.hostname = "host";
  info.arguments = {"./hi"};
  info.working_directory = "/";
  info.pid = 7;
  SyscallEvent write;
  write.number = 1;
  write.before.rip = 0x401017;
  write.before.rax = 1;
  write.before.rdi = 1;
  write.before.rsi = 0x402000;
  write.before.rdx = 3;
  write.after = write.before;
  write.after.rip = 0x401019;
  write.after.rcx = 0x401019;
  write.after.orig_rax = 1;
  write.after.rax = 3;
  write.output = OutputStream::kStdout;
  write.output_bytes = {'h', 'i', '\n'};
  FileBuilder builder;  // stored, since compressors differ in what they make of the same bytes
  builder.stored().info(info).events({{1500, write, {7}}}, 0);
  builder.chunk(ChunkType::kTaskCount, encode_task_count({1, 1})).end();
  return builder.bytes();
}

// The bytes of the document's hex dump: lines "0001f0a0: 72 63 ...", which leave the front out.
Bytes bytes_of_document() {
  std::ifstream document(RCHK_SOURCE_DIR "/docs/trace-format.md");
  Bytes bytes;
  for (std::string line; std::getline(document, line);) {
    if (line.size() < 10 || line[8] != ':') continue;
    std::istringstream hex(line.substr(9, 16 * 3));
    for (unsigned byte = 0; hex >> std::hex >> byte;) bytes.push_back(static_cast<uint8_t>(byte));
  }
  return bytes;
}

std::string hex_dump(ByteView bytes, uint64_t offset) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i % 16 == 0) out += fmt::format("\n{:08x}:", offset + i);
    out += fmt::format(" {:02x}", bytes[i]);
  }
  return out + '\n';
}

TEST(Format, IsWhatTheDocumentShows) {
  const Bytes example = worked_example();
  const ByteView behind_front = ByteView(example).subspan(kFrontBytes);
  EXPECT_EQ(bytes_of_document(), Bytes(behind_front.begin(), behind_front.end()))
      << "the format has changed: raise its version and put this into docs/trace-format.md:"
      << hex_dump(behind_front, kFrontBytes);
}

}  // namespace
}  // namespace rchk::trace
