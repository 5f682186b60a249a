#include "engine/record/tsc_sites.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include "engine/translate/decode.h"

namespace rchk::record {

namespace {

constexpr int kRateBits = 32;
constexpr uint8_t kEscape = 0x0f;

uint64_t raw_clock_ns() {
  timespec now{};
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC_RAW, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

bool uses_stack_frame(const translate::Instruction& instruction) {
  constexpr uint8_t kLoad = 0x8b, kStore = 0x89, kRexB = 1, kRsp = 4, kRbp = 5;
  const bool moves =
      instruction.map == 0 && (instruction.opcode == kLoad || instruction.opcode == kStore);
  const bool by_frame = instruction.rm() == kRsp || instruction.rm() == kRbp;
  return moves && by_frame && (instruction.rex & kRexB) == 0;
}

bool is_fence(const translate::Instruction& instruction) {
  constexpr uint8_t kFences = 0xae;
  return instruction.map == 1 && instruction.opcode == kFences && instruction.mod() == 3 &&
         instruction.reg() >= 5;
}

// It does the same elsewhere, and nothing will ask where it was.
bool can_move(const translate::Instruction& instruction) {
  if (instruction.kind != translate::InstructionClass::kOrdinary) return false;
  if (instruction.rep_string || instruction.lock || instruction.segment != 0) return false;
  return instruction.pure || instruction.rip_relative || is_fence(instruction) ||
         uses_stack_frame(instruction);
}

template <typename Value>
Value read_at(std::span<const uint8_t> bytes, size_t offset) {
  Value value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

}  // namespace

uint64_t TscScale::at(uint64_t clock_ns) const {
  const auto ticks_since = static_cast<unsigned __int128>(clock_ns - since_ns) * rate;
  return ticks + static_cast<uint64_t>(ticks_since >> kRateBits);
}

uint64_t TscScale::now() const { return at(raw_clock_ns()); }

TscSample TscSample::take() {
  constexpr int kTries = 5;
  TscSample best;
  uint64_t shortest = ~0ull;
  for (int i = 0; i < kTries; ++i) {
    const uint64_t before = __rdtsc();
    const uint64_t clock_ns = raw_clock_ns();
    const uint64_t after = __rdtsc();
    if (after - before >= shortest) continue;
    shortest = after - before;
    best = {clock_ns, after};
  }
  return best;
}

std::optional<TscScale> scale_of(const TscSample& start, const TscSample& now) {
  constexpr uint64_t kLeastNs = 1'000'000;
  if (now.clock_ns < start.clock_ns + kLeastNs || now.ticks <= start.ticks) return std::nullopt;
  const auto ticks = static_cast<unsigned __int128>(now.ticks - start.ticks) << kRateBits;
  return TscScale{now.clock_ns, now.ticks,
                  static_cast<uint64_t>(ticks / (now.clock_ns - start.clock_ns))};
}

std::optional<TscSite> TscSite::find(GuestAddress at, std::span<const uint8_t> code) {
  constexpr uint8_t kRdtsc = 0x31, kGroup = 0x01, kRdtscp = 0xf9;
  TscSite site;
  site.at = at;
  if (code.size() < 3 || code[0] != kEscape) return std::nullopt;
  site.tells_core = code[1] == kGroup && code[2] == kRdtscp;
  if (!site.tells_core && code[1] != kRdtsc) return std::nullopt;
  site.length = site.tells_core ? 3 : 2;
  size_t end = site.length;
  while (end < kJumpBytes) {
    translate::Instruction next;
    const auto status = translate::decode(code.data() + end, code.size() - end, next);
    if (status != translate::DecodeStatus::kOk || !can_move(next)) return std::nullopt;
    end += next.length;
  }
  site.code.assign(code.begin(), code.begin() + static_cast<ptrdiff_t>(end));
  return site;
}

std::optional<Bytes> TscSite::followers_at(GuestAddress place) const {
  Bytes moved(code.begin() + static_cast<ptrdiff_t>(length), code.end());
  const auto distance = static_cast<int64_t>((at + length).value - place.value);
  for (size_t offset = 0; offset < moved.size();) {
    translate::Instruction one;
    if (translate::decode(moved.data() + offset, moved.size() - offset, one) !=
        translate::DecodeStatus::kOk) {
      return std::nullopt;
    }
    if (one.rip_relative) {
      const size_t where = offset + one.displacement_offset;
      const int64_t displacement = read_at<int32_t>(moved, where) + distance;
      const auto fits = static_cast<int32_t>(displacement);
      if (fits != displacement) return std::nullopt;
      std::memcpy(moved.data() + where, &fits, sizeof(fits));
    }
    offset += one.length;
  }
  return moved;
}

bool may_lead_to(std::span<const uint8_t> code, GuestAddress begin, AddressRange middle) {
  constexpr uint8_t kCall = 0xe8, kJump = 0xe9, kShortJump = 0xeb, kFirstCounter = 0xe0,
                    kLastCounter = 0xe3, kShortIf = 0x70, kNearIf = 0x80, kCondition = 0xf0;
  constexpr uint64_t kShortReach = 130;
  const auto middle_offset = static_cast<uint32_t>(middle.begin - begin);
  const auto middle_bytes = static_cast<uint32_t>(middle.size());
  // `at`: of the displacement.
  for (size_t at = 1; at + sizeof(uint32_t) <= code.size(); ++at) {
    const auto target = read_at<uint32_t>(code, at) + static_cast<uint32_t>(at + sizeof(uint32_t));
    if (target - middle_offset >= middle_bytes) continue;
    const uint8_t opcode = code[at - 1];
    const bool is_if = at >= 2 && code[at - 2] == kEscape && (opcode & kCondition) == kNearIf;
    if (opcode == kCall || opcode == kJump || is_if) return true;
  }
  const size_t first = middle_offset > kShortReach ? middle_offset - kShortReach : 1;
  const size_t last = std::min<size_t>(code.size(), middle_offset + middle_bytes + kShortReach);
  for (size_t at = first; at < last; ++at) {
    const uint8_t opcode = code[at - 1];
    const bool is_short = (opcode & kCondition) == kShortIf || opcode == kShortJump ||
                          (opcode >= kFirstCounter && opcode <= kLastCounter);
    const auto displacement = static_cast<uint64_t>(int64_t{static_cast<int8_t>(code[at])});
    if (is_short && middle.contains(begin + at + 1 + displacement)) return true;
  }
  return false;
}

}  // namespace rchk::record
