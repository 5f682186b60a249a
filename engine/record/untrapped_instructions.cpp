#include "engine/record/untrapped_instructions.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <cpuid.h>
#include <elfutils/libdw.h>
#include <gelf.h>

#include "base/file_io.h"
#include "engine/record/files.h"
#include "engine/tracee/machine_probe.h"
#include "engine/translate/decode.h"

namespace rchk::record {

namespace {

using translate::kMaxInstructionBytes;

constexpr size_t kPieceBytes = 256 << 10;  // stays in the processor's cache
constexpr uint64_t kLongestFunctionBytes = 1 << 20;
constexpr uint8_t kRandomOpcode = 0xc7, kRdtscOpcode = 0x31, kRdtscpOpcode = 0x01,
                  kCpuidOpcode = 0xa2;  // the second

// The flags that the two write (SDM vol. 2B): CF says that there is a value, the others are clear.
constexpr uint64_t kCarry = 1, kWrittenFlags = 0x8d5;

// Whether an instruction is one of those, patched or not.
bool is_one_of(const UntrappedKinds& kinds, const translate::Instruction& instruction) {
  constexpr uint8_t kRdrand = 6;
  if (translate::is_random(instruction)) {
    return instruction.reg() == kRdrand ? kinds.rdrand : kinds.rdseed;
  }
  if (translate::is_cpuid(instruction)) return kinds.cpuid;
  return kinds.counter && translate::reads_counter(instruction);
}

// What looks like the opcode bytes and ModRM of one.
struct Candidate {
  uint64_t offset = 0;  // of the 0F in the file
  size_t bytes = 0;
  bool is_counter = false;
};

std::optional<Candidate> candidate_at(const UntrappedKinds& kinds, uint64_t offset,
                                      std::span<const uint8_t> opcode) {
  translate::Instruction instruction;
  if (translate::decode(opcode.data(), opcode.size(), instruction) !=
          translate::DecodeStatus::kOk ||
      !is_one_of(kinds, instruction)) {
    return std::nullopt;
  }
  // A privileged instruction of the file's own is none.
  const auto byte = translate::patched_byte(instruction);
  if (!byte || opcode[byte->offset] != byte->original) return std::nullopt;
  return Candidate{offset, instruction.length, translate::reads_counter(instruction)};
}

std::vector<Candidate> find_candidates(const UntrappedKinds& kinds, const FileDescriptor& file,
                                       uint64_t offset, uint64_t size) {
  std::vector<Candidate> found;
  std::vector<uint8_t> piece(kPieceBytes);
  // Pieces overlap, so that no opcode lies across the end of one.
  constexpr uint64_t kPieceStep = kPieceBytes - translate::kMostPatchedBytes + 1;
  for (uint64_t at = 0; at < size; at += kPieceStep) {
    const uint64_t wanted = std::min<uint64_t>(kPieceBytes, size - at);
    const size_t got = read_at(file.get(), offset + at, {piece.data(), wanted});
    const uint8_t* const begin = piece.data();
    const uint8_t* const end = begin + got;
    const uint8_t* const own_end = begin + std::min<uint64_t>(got, kPieceStep);
    for (const uint8_t* from = begin; from < own_end; ++from) {
      from = static_cast<const uint8_t*>(
          std::memchr(from, translate::kTwoByteOpcode, static_cast<size_t>(own_end - from)));
      if (from == nullptr) break;
      // Decoding is for the few.
      const uint8_t second = from + 1 < end ? from[1] : 0;
      const bool may_be = second == kRandomOpcode || second == kRdtscOpcode ||
                          second == kRdtscpOpcode || second == kCpuidOpcode;
      if (!may_be) continue;
      const auto left = static_cast<size_t>(end - from);
      const auto candidate = candidate_at(kinds, offset + at + static_cast<uint64_t>(from - begin),
                                          {from, std::min(left, translate::kMostPatchedBytes)});
      if (candidate) found.push_back(*candidate);
    }
    if (got < wanted) break;
  }
  return found;
}

// The functions of an ELF file.
class Functions {
 public:
  explicit Functions(const FileDescriptor& file) {
    if (elf_version(EV_CURRENT) == EV_NONE) return;
    elf_.reset(elf_begin(file.get(), ELF_C_READ, nullptr));
    if (elf_) cfi_.reset(dwarf_getcfi_elf(elf_.get()));
  }

  using Range = std::pair<uint64_t, uint64_t>;

  // The part of the file that holds the function around `offset`.
  std::optional<Range> around(uint64_t offset) const {
    GElf_Phdr segment;
    if (!elf_ || !find_segment(offset, segment)) return std::nullopt;
    const GElf_Addr address = segment.p_vaddr + (offset - segment.p_offset);
    std::optional<Range> found = by_unwinding(address);
    if (!found) found = by_symbol(address);
    const GElf_Addr last = segment.p_vaddr + segment.p_filesz;
    if (!found || found->first < segment.p_vaddr || found->second > last) return std::nullopt;
    return Range(segment.p_offset + (found->first - segment.p_vaddr),
                 segment.p_offset + (found->second - segment.p_vaddr));
  }

 private:
  std::optional<Range> by_unwinding(GElf_Addr address) const {
    Dwarf_Frame* frame = nullptr;
    if (!cfi_ || dwarf_cfi_addrframe(cfi_.get(), address, &frame) != 0) return std::nullopt;
    // Allocated for the caller (elfutils/libdw.h).
    const std::unique_ptr<Dwarf_Frame, decltype(&free)> owner(frame, &free);
    Dwarf_Addr begin = 0, end = 0;
    bool signal = false;
    if (dwarf_frame_info(frame, &begin, &end, &signal) < 0 || begin >= end) return std::nullopt;
    return Range(begin, end);
  }

  // Written in assembler, as a rule.
  std::optional<Range> by_symbol(GElf_Addr address) const {
    for (Elf_Scn* section = elf_nextscn(elf_.get(), nullptr); section != nullptr;
         section = elf_nextscn(elf_.get(), section)) {
      GElf_Shdr header;
      if (gelf_getshdr(section, &header) == nullptr) continue;
      if (header.sh_type != SHT_SYMTAB && header.sh_type != SHT_DYNSYM) continue;
      Elf_Data* const data = elf_getdata(section, nullptr);
      GElf_Sym symbol;
      for (int i = 0; data != nullptr && gelf_getsym(data, i, &symbol) != nullptr; ++i) {
        const bool around =
            address >= symbol.st_value && address - symbol.st_value < symbol.st_size;
        if (GELF_ST_TYPE(symbol.st_info) == STT_FUNC && around) {
          return Range(symbol.st_value, symbol.st_value + symbol.st_size);
        }
      }
    }
    return std::nullopt;
  }

  struct End {
    void operator()(Elf* elf) const { elf_end(elf); }
    void operator()(Dwarf_CFI* cfi) const { dwarf_cfi_end(cfi); }
  };

  bool find_segment(uint64_t offset, GElf_Phdr& segment) const {
    size_t count = 0;
    if (elf_getphdrnum(elf_.get(), &count) != 0) return false;
    for (size_t i = 0; i < count; ++i) {
      if (gelf_getphdr(elf_.get(), static_cast<int>(i), &segment) == nullptr) return false;
      const bool inside =
          offset >= segment.p_offset && offset - segment.p_offset < segment.p_filesz;
      if (segment.p_type == PT_LOAD && inside) return true;
    }
    return false;
  }

  std::unique_ptr<Elf, End> elf_;
  std::unique_ptr<Dwarf_CFI, End> cfi_;
};

// The code of one function.
class FunctionCode {
 public:
  explicit FunctionCode(std::vector<uint8_t> code) : code_(std::move(code)) {}

  // Whether one of `kinds` has its opcode's `bytes` at `candidate`.
  bool has(const UntrappedKinds& kinds, size_t candidate, size_t bytes) const {
    const size_t end = candidate + bytes;
    if (end > code_.size()) return false;  // the file has become shorter
    // An instruction has 15 bytes at most, prefixes among them.
    for (size_t at = candidate - std::min(candidate, kMaxInstructionBytes); at <= candidate; ++at) {
      translate::Instruction instruction;
      if (!decode(at, instruction) || !is_one_of(kinds, instruction)) continue;
      if (at + instruction.length != end) continue;
      if (is_reached(at)) return true;
      const bool is_used = translate::is_random(instruction)  ? is_tested(end)
                           : translate::is_cpuid(instruction) ? takes_answer(end)
                                                              : joins_halves(end);
      if (is_used && is_in_line(at)) return true;
    }
    return false;
  }

 private:
  // Whether the halves of a counter, which are in eax and edx at `at`, are soon put together, or
  // one of them is kept.
  bool joins_halves(size_t at) const {
    return has_soon(at, [](const translate::Instruction& instruction) {
      constexpr uint8_t kShift = 0xc1, kLeft = 4;
      if (!is_one_byte(instruction)) return false;
      const bool shifts = instruction.opcode == kShift && instruction.reg() == kLeft;
      return shifts ? instruction.immediate == 32 && has_low_register(instruction) &&
                          instruction.rm() == kRdx
                    : moves_one_of(instruction, 1 << kRax | 1 << kRdx);
    });
  }

  // Whether one of the answers of CPUID, in eax, ebx, ecx and edx, is soon put elsewhere, or looked
  // at.
  bool takes_answer(size_t at) const {
    return has_soon(at, [](const translate::Instruction& instruction) {
      constexpr unsigned kAnswers = 1 << kRax | 1 << kRcx | 1 << kRdx | 1 << kRbx;
      constexpr uint8_t kTest = 0x85, kExchange = 0x87, kShift = 0xc1, kGroup1 = 0x81;
      constexpr uint8_t kGroup1OfByte = 0x83, kGroup3 = 0xf7, kAndOfRax = 0x25, kCmpOfRax = 0x3d;
      if (!is_one_byte(instruction)) return false;
      switch (instruction.opcode) {
        case kTest:
        case kExchange:
        case kShift:
        case kGroup1:
        case kGroup1OfByte:
        case kGroup3:
          return has_low_register(instruction) && (kAnswers >> instruction.rm() & 1) != 0;
        case kAndOfRax:
        case kCmpOfRax:
          return true;
        default:
          return moves_one_of(instruction, kAnswers);
      }
    });
  }

  static constexpr uint8_t kRax = 0, kRcx = 1, kRdx = 2, kRbx = 3;

  // Whether `holds` is true of an instruction that soon follows in line.
  template <typename Condition>
  bool has_soon(size_t at, Condition holds) const {
    constexpr int kSoon = 8;
    translate::Instruction instruction;
    for (int i = 0; i < kSoon && decode(at, instruction); ++i, at += instruction.length) {
      if (holds(instruction)) return true;
      if (instruction.kind != translate::InstructionClass::kOrdinary) return false;
    }
    return false;
  }

  static bool is_one_byte(const translate::Instruction& instruction) {
    return instruction.map == 0 && instruction.encoding == translate::Encoding::kLegacy;
  }
  // Whether the operand is one of the first eight registers.
  static bool has_low_register(const translate::Instruction& instruction) {
    constexpr uint8_t kRexB = 1;
    return instruction.has_modrm && instruction.mod() == 3 && (instruction.rex & kRexB) == 0;
  }
  // MOV of a register in the set to elsewhere.
  static bool moves_one_of(const translate::Instruction& instruction, unsigned set) {
    constexpr uint8_t kStore = 0x89, kLoad = 0x8b, kRexR = 4;
    if (instruction.opcode == kStore) {
      return (instruction.rex & kRexR) == 0 && (set >> instruction.reg() & 1) != 0;
    }
    return instruction.opcode == kLoad && has_low_register(instruction) &&
           (set >> instruction.rm() & 1) != 0;
  }

  bool decode(size_t at, translate::Instruction& out) const {
    return at < code_.size() && translate::decode(code_.data() + at, code_.size() - at, out) ==
                                    translate::DecodeStatus::kOk;
  }

  // Whether direct jumps and what follows lead there.
  bool is_reached(size_t target) const {
    using Kind = translate::InstructionClass;
    std::vector<bool> seen(code_.size());
    std::vector<size_t> open{0};
    while (!open.empty()) {
      size_t at = open.back();
      open.pop_back();
      translate::Instruction instruction;
      while (at < code_.size() && !seen[at] && decode(at, instruction)) {
        if (at == target) return true;
        seen[at] = true;
        at += instruction.length;
        const Kind kind = instruction.kind;
        if (kind == Kind::kJump || kind == Kind::kConditionalJump || kind == Kind::kCounterJump) {
          const uint64_t to = at + static_cast<uint64_t>(instruction.immediate);
          if (to < code_.size()) open.push_back(to);
        }
        if (kind == Kind::kJump || kind == Kind::kIndirectJump || kind == Kind::kReturn ||
            kind == Kind::kInvalid) {
          break;
        }
      }
    }
    return false;
  }

  // Whether decoding one instruction behind the other leads there, as through the code that a table
  // of jumps leads to.
  bool is_in_line(size_t target) const {
    translate::Instruction instruction;
    size_t at = 0;
    while (at < target && decode(at, instruction)) at += instruction.length;
    return at == target;
  }

  // Whether the carry flag is looked at soon behind `at`: it says whether there is a value.
  bool is_tested(size_t at) const {
    return has_soon(at, [](const translate::Instruction& instruction) {
      return instruction.map == 0 ? (instruction.opcode & 0xfe) == 0x72
                                  : instruction.map == 1 && is_conditional(instruction.opcode);
    });
  }

  // CMOVcc, Jcc and SETcc of the conditions below, and not below.
  static bool is_conditional(uint8_t opcode) {
    const uint8_t condition = opcode & 0x0e, group = opcode & 0xf0;
    return condition == 2 && (group == 0x40 || group == 0x80 || group == 0x90);
  }

  std::vector<uint8_t> code_;
};

FunctionCode read_code(const FileDescriptor& file, uint64_t begin, uint64_t size) {
  std::vector<uint8_t> code(size);
  code.resize(read_at(file.get(), begin, code));
  return FunctionCode(std::move(code));
}

// Whether `shl rdx, 32` is right behind it: so many bytes mean one thing only.
bool halves_joined_behind(const FileDescriptor& file, const Candidate& candidate) {
  constexpr uint8_t kShiftRdx[] = {0x48, 0xc1, 0xe2, 0x20};
  uint8_t behind[sizeof(kShiftRdx)] = {};
  const size_t got = read_at(file.get(), candidate.offset + candidate.bytes, behind);
  return got == sizeof(behind) && std::memcmp(behind, kShiftRdx, sizeof(behind)) == 0;
}

bool is_at(const UntrappedKinds& kinds, const FileDescriptor& file, const Functions& functions,
           const Candidate& candidate) {
  const auto function = functions.around(candidate.offset);
  // Go's runtime, in a program without symbols.
  if (!function) return candidate.is_counter && halves_joined_behind(file, candidate);
  const auto [begin, end] = *function;
  if (end - begin > kLongestFunctionBytes) return false;
  return read_code(file, begin, end - begin).has(kinds, candidate.offset - begin, candidate.bytes);
}

template <typename T>
bool draw(trace::TrappedInstruction kind, uint64_t& out) {
  T value = 0;
  bool success = false;
  if (kind == trace::TrappedInstruction::kRdrand) {
    asm volatile("rdrand %0" : "=r"(value), "=@ccc"(success));
  } else {
    asm volatile("rdseed %0" : "=r"(value), "=@ccc"(success));
  }
  out = value;
  return success;
}

}  // namespace

std::optional<RandomInstruction> decode_random(std::span<const uint8_t> code) {
  translate::Instruction decoded;
  if (translate::decode(code.data(), code.size(), decoded) != translate::DecodeStatus::kOk ||
      !translate::is_random(decoded)) {
    return std::nullopt;
  }
  RandomInstruction out;
  out.kind =
      decoded.reg() == 6 ? trace::TrappedInstruction::kRdrand : trace::TrappedInstruction::kRdseed;
  out.length = decoded.length;
  constexpr uint8_t kRexB = 1, kRexW = 8;
  out.destination = static_cast<uint8_t>(decoded.rm() | (decoded.rex & kRexB) << 3);
  out.size_bytes = (decoded.rex & kRexW) != 0 ? 8 : decoded.operand_size_16 ? 2 : 4;
  return out;
}

Registers perform_random(const RandomInstruction& instruction, const Registers& before) {
  Registers after = before;
  after.rip += instruction.length;
  uint64_t value = 0;
  bool success = false;
  uint64_t kept = 0;  // of the register
  uint64_t& destination = after.*general_register(instruction.destination);
  switch (instruction.size_bytes) {
    case 2:
      success = draw<uint16_t>(instruction.kind, value);
      kept = destination & ~uint64_t{0xffff};
      break;
    case 4:
      success = draw<uint32_t>(instruction.kind, value);
      break;
    default:
      success = draw<uint64_t>(instruction.kind, value);
      break;
  }
  destination = kept | value;
  after.rflags = (before.rflags & ~kWrittenFlags) | (success ? kCarry : 0);
  return after;
}

bool processor_has(trace::TrappedInstruction kind) {
  constexpr uint32_t kRdrandInEcx = 1u << 30, kRdseedInEbx = 1u << 18;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (kind == trace::TrappedInstruction::kRdrand) {
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kRdrandInEcx) != 0;
  }
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & kRdseedInEbx) != 0)
    return true;
  // A hypervisor may hide it from CPUID alone; no processor has it without RDRAND.
  static const bool is_hidden =
      processor_has(trace::TrappedInstruction::kRdrand) && tracee::executes_rdseed();
  return is_hidden;
}

const std::vector<uint64_t>& UntrappedInstructionFinder::find(snapshot::FileId id,
                                                              const FileDescriptor& file,
                                                              uint64_t offset_bytes,
                                                              uint64_t size_bytes) {
  const auto [known, is_new] = known_.try_emplace(Part{id, offset_bytes, size_bytes});
  std::vector<uint64_t>& found = known->second;
  if (!is_new) return found;
  const auto candidates = find_candidates(kinds_, file, offset_bytes, size_bytes);
  if (candidates.empty()) return found;
  const Functions functions(file);
  for (const Candidate& candidate : candidates) {
    if (is_at(kinds_, file, functions, candidate)) found.push_back(candidate.offset);
  }
  return found;
}

}  // namespace rchk::record
