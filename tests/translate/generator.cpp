#include "tests/translate/generator.h"

#include <cstring>

namespace rchk::translate::testing {

namespace {

// rbx and r12 point into the data, rsp to the stack, r14 and r15 count loops: random instructions
// leave these five alone; every other register, r11 among them, is fair game.
constexpr int kFree[] = {0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 11, 13};

class Generator {
 public:
  Generator(uint64_t seed, const GeneratorOptions& options) : random_(seed), options_(options) {}

  RandomProgram run() {
    const int functions = pick(4);
    // main comes first and jumps over nothing: functions follow its end.
    std::vector<size_t> calls_to_patch;
    function_count_ = functions;
    body(3 + pick(12), 0);
    instruction();
    bytes({0x0f, 0x05});
    for (int f = 0; f < functions; ++f) {
      function_at_.push_back(out_.size());
      callable_from_ = f + 1;
      body(1 + pick(6), 1);
      instruction();
      if (pick(4) == 0) bytes({0x0f, 0x1f, 0x00});
      bytes({0xc3});
    }
    for (const auto& [place, function] : calls_) {
      const auto distance = static_cast<int32_t>(function_at_[function] - (place + 4));
      std::memcpy(out_.data() + place, &distance, 4);
    }
    RandomProgram program;
    program.code = std::move(out_);
    program.instruction_starts = std::move(starts_);
    fill(program.start);
    return program;
  }

 private:
  int pick(int count) { return static_cast<int>(random_() % static_cast<uint64_t>(count)); }
  bool chance(int one_in) { return pick(one_in) == 0; }
  int reg() { return kFree[pick(sizeof(kFree) / sizeof(kFree[0]))]; }
  void instruction() { starts_.push_back(kCode + out_.size()); }
  void bytes(std::initializer_list<int> list) {
    for (const int byte : list) out_.push_back(static_cast<uint8_t>(byte));
  }
  void dword(uint32_t value) {
    for (int i = 0; i < 4; ++i) out_.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }

  void fill(Registers& start) {
    uint64_t Registers::*const general[] = {&Registers::rax, &Registers::rcx, &Registers::rdx,
                                            &Registers::rbp, &Registers::rsi, &Registers::rdi,
                                            &Registers::r8,  &Registers::r9,  &Registers::r10,
                                            &Registers::r11, &Registers::r13};
    for (auto member : general) start.*member = chance(3) ? random_() % 64 : random_();
    start.rbx = kData + kDataBytes / 4;
    start.r12 = kData + kDataBytes / 2;
    start.rsp = kStack + kStackBytes / 2;
    start.rip = kCode;
    start.rflags = 0x202;
  }

  void body(int statements, int depth) {
    for (int i = 0; i < statements; ++i) statement(depth);
  }

  void statement(int depth) {
    const int kind = pick(23);
    if (kind == 0 && depth < 3) return loop(depth);
    if (kind == 1) return skip(depth);
    if (kind == 2 && callable_from_ < function_count_) return call();
    if (kind == 3) return string();
    if (kind == 4) return counter_jump();
    if (kind == 5) return indirect_jump();
    if (kind == 22) return far_return();
    if (kind == 6 && options_.faults && chance(4)) return fault();
    if (kind == 7 && options_.self_modifying) return modify();
    if (kind < 11 && options_.vectors) return vector();
    for (int i = 0, n = 1 + pick(6); i < n; ++i) integer();
  }

  void loop(int depth) {
    const int counter = depth == 0 ? 15 : 14;
    if (depth >= 2) return;
    instruction();
    bytes({0x41, 0xb8 | (counter & 7)});
    dword(static_cast<uint32_t>(1 + pick(depth == 0 ? 40 : 8)));
    const size_t top = out_.size();
    body(1 + pick(4), depth + 1);
    instruction();
    if (chance(2))
      bytes({0x41, 0xff, 0xc8 | (counter & 7)});  // dec
    else
      bytes({0x41, 0x83, 0xe8 | (counter & 7), 1});  // sub
    instruction();
    bytes({0x0f, 0x85});
    dword(static_cast<uint32_t>(top - (out_.size() + 4)));
  }

  void skip(int depth) {
    instruction();
    const bool always = chance(5);
    if (always)
      bytes({0xe9});
    else
      bytes({0x0f, 0x80 | pick(16)});
    const size_t place = out_.size();
    dword(0);
    for (int i = 0, n = 1 + pick(3); i < n; ++i) {
      if (depth < 3 && chance(6))
        statement(3);
      else
        integer();
    }
    patch(place);
  }
  void patch(size_t place) {
    const auto distance = static_cast<int32_t>(out_.size() - (place + 4));
    std::memcpy(out_.data() + place, &distance, 4);
  }

  void call() {
    const int target = callable_from_ + pick(function_count_ - callable_from_);
    // A callee's loops would use the caller's counters: they are kept on the stack.
    instruction();
    bytes({0x41, 0x57});
    instruction();
    bytes({0x41, 0x56});
    instruction();
    const int kind = pick(4);
    if (kind == 0) {
      bytes({0xe8});
      calls_.push_back({out_.size(), target});
      dword(0);
    } else {
      const int r = reg();
      bytes({0x48 | (r >> 3) << 2, 0x8d, (r & 7) << 3 | 5});  // lea r, [rip + d]
      calls_.push_back({out_.size(), target});
      dword(0);
      instruction();
      if (kind == 1) {
        bytes({0x40 | r >> 3, 0xff, 0xd0 | (r & 7)});
      } else if (kind == 2) {  // through memory at rbx
        bytes({0x48 | (r >> 3) << 2, 0x89, (r & 7) << 3 | 3});
        instruction();
        bytes({0xff, 0x13});
      } else {  // through memory at rsp - reached with a push
        bytes({0x40 | r >> 3, 0x50 | (r & 7)});
        instruction();
        bytes({0xff, 0x14, 0x24});
        instruction();
        bytes({0x48, 0x8d, 0x64, 0x24, 0x08});
      }
    }
    instruction();
    bytes({0x41, 0x5e});
    instruction();
    bytes({0x41, 0x5f});
  }

  void string() {
    static constexpr int kOperations[] = {0xa4, 0xa5, 0xaa, 0xab, 0xac,
                                          0xad, 0xa6, 0xa7, 0xae, 0xaf};
    instruction();
    bytes({0xb9});
    dword(static_cast<uint32_t>(pick(20)));
    instruction();
    bytes({0x48, 0x8d, 0xbb});  // lea rdi, [rbx + d]
    dword(static_cast<uint32_t>(pick(4096)));
    instruction();
    bytes({0x49, 0x8d, 0xb4, 0x24});  // lea rsi, [r12 + d]
    dword(static_cast<uint32_t>(pick(4096)));
    instruction();
    if (!chance(4)) bytes({chance(2) ? 0xf3 : 0xf2});
    if (chance(3))
      bytes({0x66});
    else if (chance(3))
      bytes({0x48});
    bytes({kOperations[pick(10)]});
  }

  void counter_jump() {
    instruction();
    bytes({0xb9});
    dword(static_cast<uint32_t>(pick(6)));
    const bool loops = chance(2);
    const size_t top = out_.size();
    if (loops) {
      instruction();
      bytes({0x48, 0xff, 0xc0});
      instruction();
      // rcx may be 0 here: then `loop` would go around 2^64 times
      bytes({0x80, 0xe1, 0x07, 0x80, 0xc9, 0x01});
      starts_.push_back(kCode + out_.size() - 3);
      instruction();
      bytes({0xe0 | pick(2), 0});
      out_.back() = 0;  // to the next instruction either way
      static_cast<void>(top);
      return;
    }
    instruction();
    const bool narrow = chance(3);
    if (narrow) bytes({0x67});
    bytes({0xe3, 0});
    const size_t place = out_.size();
    instruction();
    bytes({0x48, 0x83, 0xc0, 0x05});
    out_[place - 1] = static_cast<uint8_t>(out_.size() - place);
    instruction();
    bytes({0xb9});
    dword(static_cast<uint32_t>(1 + pick(6)));
    const size_t around = out_.size();
    instruction();
    bytes({0x48, 0x01, 0xc2});
    instruction();
    bytes({0xe2, static_cast<int>(around - (out_.size() + 2)) & 0xff});
  }

  // lretq or iretq to what follows.
  void far_return() {
    const int r = reg();
    const int wide = 0x48 | (r >> 3) << 2;
    const auto push = [&] {
      instruction();
      bytes({0x40 | r >> 3, 0x50 | (r & 7)});
    };
    const auto push_segment = [&](int segment) {
      instruction();
      bytes({0x40 | r >> 3, 0x8c, 0xc0 | segment << 3 | (r & 7)});
      push();
    };
    const bool iret = chance(2);
    if (iret) {
      push_segment(2);
      instruction();
      bytes({wide, 0x8d, 0x44 | (r & 7) << 3, 0x24, 8});  // lea r, [rsp + 8]
      push();
      instruction();
      bytes({0x68});
      dword(0x202 | (static_cast<uint32_t>(random_()) & 0x8d5));
    }
    push_segment(1);
    instruction();
    bytes({wide, 0x8d, (r & 7) << 3 | 5});
    const size_t place = out_.size();
    dword(0);
    push();
    instruction();
    bytes({0x48, iret ? 0xcf : 0xcb});
    for (int i = 0, n = pick(3); i < n; ++i) integer();
    patch(place);
  }

  void indirect_jump() {
    const int r = reg();
    instruction();
    bytes({0x48 | (r >> 3) << 2, 0x8d, (r & 7) << 3 | 5});
    const size_t place = out_.size();
    dword(0);
    instruction();
    bytes({0x40 | r >> 3, 0xff, 0xe0 | (r & 7)});
    for (int i = 0, n = pick(3); i < n; ++i) integer();
    patch(place);
  }

  void fault() {
    instruction();
    switch (pick(4)) {
      case 0:  // a load from an address that is not mapped, through r11
        bytes({0x41, 0xbb});
        dword(0x1000);
        instruction();
        bytes({0x41, 0x8b, 0x03});
        break;
      case 1:  // div by zero
        bytes({0x31, 0xc9});
        instruction();
        bytes({0xf7, 0xf1});
        break;
      case 2:
        bytes({0x0f, 0x0b});
        break;
      default:  // rep movsb that runs out of the data
        bytes({0x48, 0xbf});
        for (int i = 0; i < 8; ++i) {
          out_.push_back(static_cast<uint8_t>((kData + kDataBytes - 5) >> (8 * i)));
        }
        instruction();
        bytes({0xb9});
        dword(40);
        instruction();
        bytes({0xb0, 0x77});
        instruction();
        bytes({0xf3, 0xaa});
    }
  }

  // mov byte [rip + d], imm: changes the immediate of the `mov eax, imm` behind it.
  void modify() {
    instruction();
    bytes({0xc6, 0x05});
    dword(1);
    bytes({pick(256)});
    instruction();
    bytes({0xb8});
    dword(random_());
  }

  // A ModRM operand: register or [rbx/r12 + disp], with `field` in reg. Emits prefixes with W.
  void modrm(int field, int wide, std::initializer_list<int> prefixes,
             std::initializer_list<int> opcode, bool register_only = false,
             bool memory_only = false) {
    bytes(prefixes);
    if (!memory_only && (register_only || !chance(3))) {
      const int rm = reg();
      bytes({0x40 | wide << 3 | (field >> 3) << 2 | rm >> 3});
      bytes(opcode);
      bytes({0xc0 | (field & 7) << 3 | (rm & 7)});
      return;
    }
    switch (pick(5)) {
      case 4:  // [rip + disp32], with a bit in REX that means nothing there
        bytes({0x40 | wide << 3 | (field >> 3) << 2 | pick(2)});
        bytes(opcode);
        return rip_relative(field);
      case 0:  // [rbx + disp8]
        bytes({0x40 | wide << 3 | (field >> 3) << 2});
        bytes(opcode);
        bytes({0x43 | (field & 7) << 3, pick(128)});
        break;
      case 1:  // [r12 + disp32]
        bytes({0x41 | wide << 3 | (field >> 3) << 2});
        bytes(opcode);
        bytes({0x84 | (field & 7) << 3, 0x24});
        dword(static_cast<uint32_t>(pick(2048)));
        break;
      case 2:  // [rsp + 8k]
        bytes({0x40 | wide << 3 | (field >> 3) << 2});
        bytes(opcode);
        bytes({0x44 | (field & 7) << 3, 0x24, 8 * pick(8) + 64});
        break;
      default:  // [rbx + disp8]
        bytes({0x40 | wide << 3 | (field >> 3) << 2});
        bytes(opcode);
        bytes({0x83 | (field & 7) << 3});
        dword(static_cast<uint32_t>(pick(1024)));
        break;
    }
  }

  // Behind the opcode: ModRM, and the distance to what [rbx] reaches too.
  void rip_relative(int field) {
    bytes({0x05 | (field & 7) << 3});
    const uint64_t target = kData + kDataBytes / 4 + static_cast<uint64_t>(pick(1024));
    dword(static_cast<uint32_t>(target - (kCode + out_.size() + 4)));
  }

  void integer() {
    instruction();
    const int wide = pick(2);
    switch (pick(26)) {
      case 0:
      case 1:
      case 2:
        return modrm(reg(), wide, {}, {pick(8) * 8 + 1 + 2 * pick(2)});
      case 3: {
        const int group = pick(8);
        modrm(group, wide, {}, {0x83});
        return bytes({pick(256)});
      }
      case 4: {
        const int group = pick(8);
        modrm(group, wide, {}, {0x81});
        return dword(static_cast<uint32_t>(random_()));
      }
      case 5:
      case 6:
        return modrm(reg(), wide, {}, {chance(2) ? 0x89 : 0x8b});
      case 7: {
        const int group = pick(2) * 2 + 4 + pick(2);  // shl shr sal sar and rotations below
        modrm(chance(2) ? group & 7 : pick(4), wide, {}, {0xc1});
        return bytes({pick(64)});
      }
      case 8:
        return modrm(pick(8), wide, {}, {chance(2) ? 0xd1 : 0xd3});
      case 9:
        return modrm(reg(), wide, {}, {0x85});
      case 10:
        return modrm(reg(), wide, {}, {0x0f, 0xaf});
      case 11:
        return modrm(reg(), wide, {}, {0x0f, 0x40 | pick(16)});
      case 12:
        if (chance(4)) {  // mov between memory and ah, ch or dh, without REX
          bytes({chance(2) ? 0x88 : 0x8a});
          return rip_relative(pick(3) + 4);
        }
        return modrm(0, 0, {}, {0x0f, 0x90 | pick(16)});
      case 13:
        return modrm(reg(), wide, {}, {0x0f, 0xb6 | pick(2) | pick(2) << 3});
      case 14: {
        const int r = reg();
        return bytes({0x48 | r >> 3, 0x0f, 0xc8 | (r & 7)});
      }
      case 15: {  // push, work, pop: balanced
        const int r = reg(), s = reg();
        bytes({0x40 | r >> 3, 0x50 | (r & 7)});
        instruction();
        return bytes({0x40 | s >> 3, 0x58 | (s & 7)});
      }
      case 16: {  // pushf; popf
        bytes({0x9c});
        instruction();
        return bytes({0x9d});
      }
      case 17: {
        bytes({chance(2) ? 0x9f : 0x9e});
        return;
      }
      case 18:
        return modrm(reg(), wide, {}, {0x0f, 0xa3 | 8 * pick(4)}, true);
      case 19:
        return modrm(pick(2) + 2, wide, {}, {0xf7});
      case 20:
        return modrm(pick(2), wide, {}, {0xff});
      case 21:
        return modrm(reg(), wide, {}, {0x8d}, false, true);
      case 22:
        return modrm(reg(), wide, {}, {0x0f, 0xc1});
      case 23:
        return modrm(reg(), wide, {}, {0x0f, 0xb1});
      case 24:
        return modrm(reg(), wide, {0xf3}, {0x0f, chance(2) ? 0xb8 : 0xbc | pick(2)});
      default: {  // mov r, [rip - something], which is code
        const int r = reg();
        bytes({0x48 | (r >> 3) << 2, 0x8b, (r & 7) << 3 | 5});
        dword(
            static_cast<uint32_t>(-static_cast<int32_t>(pick(static_cast<int>(out_.size())) + 4)));
        return;
      }
    }
  }

  void vector() {
    instruction();
    const int x = pick(16), y = pick(16);
    switch (pick(__builtin_cpu_is("intel") ? 10 : 9)) {
      case 9:
        return x87();
      case 0:
        return vector_memory({0x0f, 0x6f}, 0xf3, x);  // movdqu x, m
      case 1:
        return vector_memory({0x0f, 0x7f}, 0xf3, x);  // movdqu m, x
      case 2:                                         // paddd
        return bytes(
            {0x66, 0x40 | (x >> 3) << 2 | y >> 3, 0x0f, 0xfe, 0xc0 | (x & 7) << 3 | (y & 7)});
      case 3: {  // movq x, r
        const int r = reg();
        return bytes(
            {0x66, 0x48 | (x >> 3) << 2 | r >> 3, 0x0f, 0x6e, 0xc0 | (x & 7) << 3 | (r & 7)});
      }
      case 4: {  // movq r, x
        const int r = reg();
        return bytes(
            {0x66, 0x48 | (x >> 3) << 2 | r >> 3, 0x0f, 0x7e, 0xc0 | (x & 7) << 3 | (r & 7)});
      }
      case 5: {  // vpaddq ymm x, ymm y, ymm 11
        return bytes(
            {0xc4, 0x41 | (x < 8 ? 0x80 : 0), (~y & 15) << 3 | 5, 0xd4, 0xc0 | (x & 7) << 3 | 3});
      }
      case 6:  // vpxorq zmm x, zmm y, [rbx], or [rip + d] with a bit that means nothing
        if (chance(2)) {
          bytes(
              {0x62, 0x51 | (x < 8 ? 0x80 : 0) | pick(2) << 5, 0x85 | (~y & 15) << 3, 0x48, 0xef});
          return rip_relative(x);
        }
        return bytes({0x62, 0x71 | (x < 8 ? 0x80 : 0), 0x85 | (~y & 15) << 3, 0x48, 0xef,
                      0x03 | (x & 7) << 3});
      case 7: {  // andn r, r11, m / rorx
        const int r = reg();
        if (chance(2)) {  // andn r, s, [rip + d]
          const int s = reg();
          bytes({0xc4, 0x42 | (r < 8 ? 0x80 : 0) | pick(2) << 5, 0x80 | (~s & 15) << 3, 0xf2});
          return rip_relative(r);
        }
        if (chance(3)) {  // vmovdqu ymm x, [rip + d], with the short prefix
          bytes({0xc5, 0x7e | (x < 8 ? 0x80 : 0), 0x6f});
          return rip_relative(x);
        }
        return bytes(
            {0xc4, 0x62 | (r < 8 ? 0x80 : 0), 0x80 | (~11 & 15) << 3, 0xf2, 0x03 | (r & 7) << 3});
      }
      default:  // pcmpeqb, pmovmskb
        bytes({0x66, 0x0f, 0x74, 0xc1});
        instruction();
        return bytes({0x66, 0x44, 0x0f, 0xd7, 0xd8});  // pmovmskb r11d, xmm0
    }
  }
  // Whose stack may overflow, and whose address is stored. (AMD's processors forget the address
  // when the thread is switched.)
  void x87() {
    switch (pick(10)) {
      case 0:
        return bytes({0xd9, 0xe8});  // fld1
      case 1:
        return bytes({0xd9, 0xeb});  // fldpi
      case 2:
        return bytes({0xd9, 0xe0});  // fchs
      case 3:
        return bytes({0xde, 0xc1});  // faddp
      case 4:
        return x87_memory({0xdc}, 0);  // fadd m64
      case 5:
        return x87_memory({0xdd}, 3);  // fstp m64
      case 6:
        return x87_memory({0xd9}, 6);  // fnstenv
      case 7:
        return x87_memory({0x0f, 0xae}, 0);  // fxsave
      case 8:
        x87_memory({0xdd}, 6);  // fnsave; frstor of the same
        instruction();
        return repeat_x87_memory({0xdd}, 4);
      default:
        return bytes({0xdb, 0xe3});  // fninit
    }
  }
  void x87_memory(std::initializer_list<int> opcode, int operation) {
    x87_offset_ = static_cast<uint32_t>(pick(128)) * 16;
    repeat_x87_memory(opcode, operation);
  }
  void repeat_x87_memory(std::initializer_list<int> opcode, int operation) {
    bytes(opcode);
    bytes({0x83 | operation << 3});
    dword(x87_offset_);
  }
  void vector_memory(std::initializer_list<int> opcode, int prefix, int x) {
    bytes({prefix, 0x40 | (x >> 3) << 2});
    bytes(opcode);
    if (chance(3)) return rip_relative(x);
    bytes({0x83 | (x & 7) << 3});
    dword(static_cast<uint32_t>(pick(2048)));
  }

  std::mt19937_64 random_;
  GeneratorOptions options_;
  std::vector<uint8_t> out_;
  std::vector<uint64_t> starts_;
  std::vector<std::pair<size_t, int>> calls_;
  std::vector<size_t> function_at_;
  int function_count_ = 0;
  int callable_from_ = 0;
  uint32_t x87_offset_ = 0;
};

}  // namespace

RandomProgram generate(uint64_t seed, const GeneratorOptions& options) {
  return Generator(seed, options).run();
}

}  // namespace rchk::translate::testing
