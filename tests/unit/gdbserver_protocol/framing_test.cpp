#include "gdbserver/protocol/framing.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_client.h"
#include "gdbserver/protocol/hex.h"

namespace rchk::protocol {
namespace {

using testing::framed;
using testing::packets_in;

// All frames in `input`, a byte at a time or all at once.
std::vector<FrameKind> frames_in(Framer& framer, std::string_view input, size_t at_once) {
  std::vector<FrameKind> frames;
  while (!input.empty()) {
    std::string_view part = input.substr(0, at_once);
    const size_t size = part.size();
    const auto frame = framer.take(part);
    if (frame) frames.push_back(*frame);
    input.remove_prefix(size - part.size());
  }
  return frames;
}

TEST(Framer, FindsPacketsHoweverTheyAreCut) {
  for (const size_t at_once : {1u, 2u, 3u, 100u}) {
    Framer framer;
    EXPECT_THAT(frames_in(framer, "+$g#67-\x03$m1,2#fc", at_once),
                ::testing::ElementsAre(FrameKind::kAck, FrameKind::kPacket, FrameKind::kNack,
                                       FrameKind::kInterrupt, FrameKind::kPacket));
    EXPECT_EQ(framer.contents(), "m1,2");
  }
}

TEST(Framer, UndoesEscapes) {
  Framer framer;
  frames_in(framer, framed("X1,2:}\x03}]"), 1);
  EXPECT_EQ(framer.contents(), "X1,2:#}");
}

TEST(Framer, TakesAnInterruptByteInsideOfAPacketForContents) {
  Framer framer;
  EXPECT_THAT(frames_in(framer, framed("X1,1:\x03"), 1),
              ::testing::ElementsAre(FrameKind::kPacket));
  EXPECT_EQ(framer.contents(), "X1,1:\x03");
}

TEST(Framer, TellsDamagedPackets) {
  Framer framer;
  EXPECT_THAT(
      frames_in(framer, "$g#68$g#xy$g#67", 100),
      ::testing::ElementsAre(FrameKind::kBadChecksum, FrameKind::kBadChecksum, FrameKind::kPacket));
}

TEST(Framer, StartsAnewAtADollar) {
  Framer framer;
  EXPECT_THAT(frames_in(framer, "$m123$g#67", 100), ::testing::ElementsAre(FrameKind::kPacket));
  EXPECT_EQ(framer.contents(), "g");
}

TEST(Framer, RefusesWhatIsTooLongAndGoesOn) {
  Framer framer;
  const std::string input = framed(std::string(kMaxPacketBytes + 1, 'a')) + "$g#67";
  EXPECT_THAT(frames_in(framer, input, 1000),
              ::testing::ElementsAre(FrameKind::kTooLong, FrameKind::kPacket));
}

TEST(Framer, SkipsNoise) {
  Framer framer;
  EXPECT_THAT(frames_in(framer, "hello\r\n$g#67", 100), ::testing::ElementsAre(FrameKind::kPacket));
}

TEST(AppendPacket, ShortensRunsOfEveryLength) {
  for (size_t length = 1; length < 300; ++length) {
    const std::string text = "a" + std::string(length, '0') + "b";
    std::string wire;
    append_packet(wire, text, Encoding::kText);
    EXPECT_THAT(packets_in(wire), ::testing::ElementsAre(text)) << length;
    EXPECT_EQ(wire.find_first_of("+-"), std::string::npos) << wire;
    EXPECT_LE(wire.size(), text.size() + 4);
  }
}

TEST(AppendPacket, LeavesBinaryRunsAlone) {
  std::string escaped, wire;
  append_escaped(escaped, bytes_of("}}}}}####****$$$$0000"));
  append_packet(wire, escaped, Encoding::kBinary);
  EXPECT_THAT(packets_in(wire), ::testing::ElementsAre("}}}}}####****$$$$0000"));
  EXPECT_EQ(wire.find('*'), std::string::npos);
}

TEST(Framer, SurvivesRandomBytes) {
  std::mt19937 random(1);
  Framer framer;
  for (int i = 0; i < 20000; ++i) {
    constexpr std::string_view kBytes = "$#}+-\x03*0aX";
    const char byte = kBytes[random() % kBytes.size()];
    std::string_view input(&byte, 1);
    (void)framer.take(input);
  }
  std::string_view input = "#00$#00$g#67";
  FrameKind last = FrameKind::kAck;
  while (const auto frame = framer.take(input)) last = *frame;
  EXPECT_EQ(last, FrameKind::kPacket);
}

TEST(Hex, ReadsNumbers) {
  EXPECT_EQ(parse_number("fFf"), 0xfffu);
  EXPECT_EQ(parse_number("ffffffffffffffff"), UINT64_MAX);
  EXPECT_EQ(parse_number("10000000000000000"), std::nullopt);
  EXPECT_EQ(parse_number(""), std::nullopt);
  EXPECT_EQ(parse_number("12g"), std::nullopt);
  EXPECT_EQ(parse_number("-1"), std::nullopt);
}

TEST(Hex, WritesNumbers) {
  for (const auto& [number, text] : std::initializer_list<std::pair<uint64_t, const char*>>{
           {0, "0"}, {0xf, "f"}, {0x10, "10"}, {UINT64_MAX, "ffffffffffffffff"}}) {
    std::string out;
    append_number(out, number);
    EXPECT_EQ(out, text);
  }
}

TEST(Hex, DecodesBytes) {
  EXPECT_EQ(decode_hex("00fF7a"), (Bytes{0, 0xff, 0x7a}));
  EXPECT_EQ(decode_hex(""), Bytes{});
  EXPECT_EQ(decode_hex("0"), std::nullopt);
  EXPECT_EQ(decode_hex("0x"), std::nullopt);
}

}  // namespace
}  // namespace rchk::protocol
