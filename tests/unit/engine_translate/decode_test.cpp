#include "engine/translate/decode.h"

#include <capstone/capstone.h>
#include <elf.h>
#include <gtest/gtest.h>
#include <link.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace rchk::translate {
namespace {

Instruction decoded(std::initializer_list<uint8_t> bytes) {
  const std::vector<uint8_t> code(bytes);
  Instruction result;
  EXPECT_EQ(decode(code.data(), code.size(), result), DecodeStatus::kOk);
  return result;
}

TEST(Decode, TellsBranchesApart) {
  EXPECT_EQ(decoded({0xe8, 0x10, 0, 0, 0}).kind, InstructionClass::kCall);
  EXPECT_EQ(decoded({0xe8, 0x10, 0, 0, 0}).immediate, 0x10);
  EXPECT_EQ(decoded({0xeb, 0xfe}).immediate, -2);
  EXPECT_EQ(decoded({0x0f, 0x84, 0, 1, 0, 0}).kind, InstructionClass::kConditionalJump);
  EXPECT_EQ(decoded({0xe3, 0x05}).kind, InstructionClass::kCounterJump);
  EXPECT_EQ(decoded({0xff, 0x24, 0xc5, 0, 0, 0, 0}).kind, InstructionClass::kIndirectJump);
  EXPECT_EQ(decoded({0xff, 0x15, 0, 0, 0, 0}).kind, InstructionClass::kIndirectCall);
  EXPECT_TRUE(decoded({0xff, 0x15, 0, 0, 0, 0}).rip_relative);
  EXPECT_EQ(decoded({0xf2, 0xc3}).kind, InstructionClass::kReturn);
}

TEST(Decode, NamesWhatIsUnsupported) {
  EXPECT_STREQ(decoded({0xcd, 0x80}).detail, "INT 0x80");
  EXPECT_EQ(decoded({0xf3, 0x0f, 0xc7, 0xf8}).kind, InstructionClass::kTrapped);  // rdpid
  EXPECT_STREQ(decoded({0xc7, 0xf8, 0, 0, 0, 0}).detail, "XBEGIN");
}

TEST(Decode, CountersPatchedOrNot) {
  for (const uint8_t second : {uint8_t{0x31}, uint8_t{0x08}}) {
    const Instruction counter = decoded({0x48, 0x0f, second});
    EXPECT_TRUE(reads_counter(counter));
    EXPECT_EQ(counter.kind, InstructionClass::kTrapped);
    EXPECT_EQ(counter.length, 3);
    EXPECT_EQ(patched_byte(counter), (PatchedByte{2, 0x31, 0x08}));
    EXPECT_FALSE(reads_counter(decoded({0xf0, 0x0f, second})));
  }
  for (const uint8_t modrm : {uint8_t{0xf9}, uint8_t{0xf8}}) {
    const Instruction counter = decoded({0x0f, 0x01, modrm});
    EXPECT_TRUE(reads_counter(counter));
    EXPECT_EQ(counter.kind, InstructionClass::kTrapped);
    EXPECT_EQ(patched_byte(counter), (PatchedByte{2, 0xf9, 0xf8}));
  }
  EXPECT_FALSE(reads_counter(decoded({0x0f, 0x01, 0xfa})));
  EXPECT_FALSE(reads_counter(decoded({0x0f, 0x09})));
  EXPECT_TRUE(is_cpuid(decoded({0x0f, 0x09})));
  EXPECT_EQ(patched_byte(decoded({0x0f, 0xa2})), (PatchedByte{1, 0xa2, 0x09}));
  EXPECT_FALSE(is_cpuid(decoded({0xf3, 0x0f, 0x09})));  // wbnoinvd
  EXPECT_FALSE(reads_counter(decoded({0x08, 0xc0})));   // or al, al
  EXPECT_EQ(patched_byte(decoded({0x90})), std::nullopt);
}

TEST(Decode, EveryPatchSaysWhichByteItIs) {
  const std::vector<std::vector<uint8_t>> opcodes = {
      {0x0f, 0xc7, 0xf0}, {0x0f, 0xc7, 0xf8}, {0x0f, 0x31}, {0x0f, 0x01, 0xf9}, {0x0f, 0xa2}};
  for (std::vector<uint8_t> opcode : opcodes) {
    Instruction instruction;
    ASSERT_EQ(decode(opcode.data(), opcode.size(), instruction), DecodeStatus::kOk);
    const auto byte = patched_byte(instruction);
    ASSERT_TRUE(byte.has_value());
    ASSERT_EQ(opcode[byte->offset], byte->original);
    EXPECT_EQ(offset_if_patched(byte->patched), byte->offset);
    opcode[byte->offset] = byte->patched;
    ASSERT_EQ(decode(opcode.data(), opcode.size(), instruction), DecodeStatus::kOk);
    EXPECT_EQ(instruction.kind, InstructionClass::kTrapped);
    EXPECT_EQ(instruction.length, opcode.size());
    EXPECT_EQ(patched_byte(instruction), byte);
  }
}

TEST(Decode, RandomInstructionsPatchedOrNot) {
  for (const uint8_t first : {uint8_t{0x0f}, kPatchedRandom}) {
    const Instruction narrow = decoded({0x66, first, 0xc7, 0xf3});
    EXPECT_TRUE(is_random(narrow));
    EXPECT_EQ(narrow.kind, InstructionClass::kTrapped);
    EXPECT_EQ(narrow.length, 4);
    const Instruction wide = decoded({0x49, first, 0xc7, 0xfb});
    EXPECT_TRUE(is_random(wide));
    EXPECT_EQ(wide.reg(), 7);
    EXPECT_EQ(wide.rex, 0x49);
    // SENDUIPI and RDPID; what has a memory operand.
    EXPECT_FALSE(is_random(decoded({0xf3, first, 0xc7, 0xf8})));
    EXPECT_FALSE(is_random(decoded({first, 0xc7, 0x30})));
  }
  EXPECT_EQ(decoded({0xf4}).length, 1);
  EXPECT_EQ(decoded({0xf4, 0xc7}).length, 1);
  EXPECT_EQ(decoded({0xf4, 0xc7, 0xc0, 0, 0, 0, 0}).length, 1);
}

TEST(Decode, ShiftsThatMayLeaveFlagsAreNoCleanKill) {
  EXPECT_EQ(decoded({0xc1, 0xe0, 0x03}).flags_killed, kAllFlags);
  EXPECT_EQ(decoded({0xc1, 0xe0, 0x20}).flags_killed, 0);  // by 32, masked to 0
  EXPECT_EQ(decoded({0xd3, 0xe0}).flags_killed, 0);
  EXPECT_EQ(decoded({0x0f, 0xbc, 0xc1}).flags_killed, 0);
  EXPECT_EQ(decoded({0xf3, 0xa6}).flags_killed, 0);  // repe cmpsb with rcx 0
}

TEST(Decode, AskedForMoreThanThereIsSaysSo) {
  const uint8_t bytes[] = {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8};
  Instruction result;
  for (size_t count = 0; count < sizeof(bytes); ++count) {
    EXPECT_EQ(decode(bytes, count, result), DecodeStatus::kTruncated) << count;
  }
  EXPECT_EQ(decode(bytes, sizeof(bytes), result), DecodeStatus::kOk);
}

// The executable part of an ELF file.
std::vector<uint8_t> code_of(const std::string& path, uint64_t& address) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.size() < sizeof(Elf64_Ehdr)) return {};
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, bytes.data() + header.e_phoff + i * sizeof(segment), sizeof(segment));
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
    address = segment.p_vaddr;
    const auto begin = bytes.begin() + static_cast<long>(segment.p_offset);
    return {begin, begin + static_cast<long>(segment.p_filesz)};
  }
  return {};
}

std::string library_of(const void* symbol) {
  Dl_info info;
  return dladdr(symbol, &info) != 0 ? info.dli_fname : "";
}

struct CapstoneFlag {
  uint64_t tested, written;
  uint8_t flag;
};
constexpr CapstoneFlag kFlags[] = {
    {X86_EFLAGS_TEST_CF,
     X86_EFLAGS_MODIFY_CF | X86_EFLAGS_RESET_CF | X86_EFLAGS_SET_CF | X86_EFLAGS_UNDEFINED_CF, kCF},
    {X86_EFLAGS_TEST_ZF, X86_EFLAGS_MODIFY_ZF | X86_EFLAGS_RESET_ZF | X86_EFLAGS_UNDEFINED_ZF, kZF},
    {X86_EFLAGS_TEST_SF, X86_EFLAGS_MODIFY_SF | X86_EFLAGS_RESET_SF | X86_EFLAGS_UNDEFINED_SF, kSF},
    {X86_EFLAGS_TEST_OF, X86_EFLAGS_MODIFY_OF | X86_EFLAGS_RESET_OF | X86_EFLAGS_UNDEFINED_OF, kOF},
    {X86_EFLAGS_TEST_PF, X86_EFLAGS_MODIFY_PF | X86_EFLAGS_RESET_PF | X86_EFLAGS_UNDEFINED_PF,
     kPF}};

class CapstoneComparison : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(cs_open(CS_ARCH_X86, CS_MODE_64, &handle_), CS_ERR_OK);
    cs_option(handle_, CS_OPT_DETAIL, CS_OPT_ON);
    insn_ = cs_malloc(handle_);
  }
  void TearDown() override {
    cs_free(insn_, 1);
    cs_close(&handle_);
  }

  bool names_r11() {
    cs_regs read, write;
    uint8_t reads = 0, writes = 0;
    if (cs_regs_access(handle_, insn_, read, &reads, write, &writes) != CS_ERR_OK) return false;
    auto is_r11 = [](uint16_t reg) {
      return reg == X86_REG_R11 || reg == X86_REG_R11D || reg == X86_REG_R11W ||
             reg == X86_REG_R11B;
    };
    for (unsigned i = 0; i < reads; ++i)
      if (is_r11(read[i])) return true;
    for (unsigned i = 0; i < writes; ++i)
      if (is_r11(write[i])) return true;
    return false;
  }

  // Decodes all of `code`; instructions that Capstone does not know are skipped by our length.
  void compare(const std::vector<uint8_t>& code) {
    ASSERT_FALSE(code.empty());
    size_t at = 0, compared = 0, differences = 0;
    while (at < code.size() && differences < 20) {
      Instruction ours;
      if (decode(code.data() + at, code.size() - at, ours) != DecodeStatus::kOk) break;
      const uint8_t* next = code.data() + at;
      size_t left = code.size() - at;
      uint64_t address = 0x1000;
      if (ours.kind != InstructionClass::kInvalid &&
          cs_disasm_iter(handle_, &next, &left, &address, insn_)) {
        ++compared;
        if (!agrees(ours)) {
          ++differences;
          ADD_FAILURE() << std::hex << at << ": " << insn_->mnemonic << " " << insn_->op_str
                        << " ours: length " << int{ours.length} << " r11 " << ours.uses_r11
                        << " read " << int{ours.flags_read} << " killed " << int{ours.flags_killed};
        }
      }
      at += ours.length;
    }
    EXPECT_GT(compared, code.size() / 10);
  }

  bool agrees(const Instruction& ours) {
    // A fwait that Capstone joins with the next instruction is an instruction of its own.
    if (ours.map == 0 && ours.opcode == 0x9b) return true;
    if (insn_->size != ours.length) return false;
    if (insn_->id != X86_INS_SYSCALL && names_r11() && !ours.uses_r11) return false;
    const cs_x86& x86 = insn_->detail->x86;
    bool fpu = false;
    for (unsigned g = 0; g < insn_->detail->groups_count; ++g) {
      fpu = fpu || insn_->detail->groups[g] == X86_GRP_FPU;
    }
    if (fpu || x86.eflags == 0) return true;
    for (const CapstoneFlag& flag : kFlags) {
      if ((x86.eflags & flag.tested) != 0 && (ours.flags_read & flag.flag) == 0) return false;
      if ((ours.flags_killed & flag.flag) != 0 && (x86.eflags & flag.written) == 0) return false;
    }
    return true;
  }

  csh handle_ = 0;
  cs_insn* insn_ = nullptr;
};

TEST_F(CapstoneComparison, AgreesOnTheCLibrary) {
  uint64_t address = 0;
  compare(code_of(library_of(reinterpret_cast<const void*>(&strlen)), address));
}
TEST_F(CapstoneComparison, AgreesOnTheCppLibrary) {
  uint64_t address = 0;
  compare(code_of(library_of(reinterpret_cast<const void*>(&std::terminate)), address));
}

}  // namespace
}  // namespace rchk::translate
