#include "engine/record/vdso.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include <gelf.h>
#include <sys/syscall.h>

namespace rchk::record {

namespace {

struct Function {
  std::string_view name;
  uint32_t number;  // of the call with the same arguments and result
};

// arch/x86/entry/vdso/vdso.lds.S. Each has a second name, without the prefix.
constexpr std::string_view kPrefix = "__vdso_";
constexpr Function kFunctions[] = {
    {"clock_gettime", SYS_clock_gettime},
    {"gettimeofday", SYS_gettimeofday},
    {"time", SYS_time},
    {"getcpu", SYS_getcpu},
    {"clock_getres", SYS_clock_getres},
};

std::optional<uint32_t> number_of(std::string_view name) {
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  for (const Function& function : kFunctions) {
    if (function.name == name) return function.number;
  }
  return std::nullopt;
}

constexpr size_t kSyscallOffset = 5, kCodeBytes = 8;

// mov $number,%eax; syscall; ret
void write_call(uint32_t number, uint8_t* out) {
  const uint8_t code[kCodeBytes] = {0xb8, 0, 0, 0, 0, 0x0f, 0x05, 0xc3};
  std::memcpy(out, code, kCodeBytes);
  std::memcpy(out + 1, &number, sizeof(number));
}

// mov $-ENOSYS,%rax; ret
void write_refusal(uint8_t* out) {
  const uint8_t code[kCodeBytes] = {0x48, 0xc7, 0xc0, 0, 0, 0, 0, 0xc3};
  const int32_t error = -ENOSYS;
  std::memcpy(out, code, kCodeBytes);
  std::memcpy(out + 3, &error, sizeof(error));
}

struct End {
  void operator()(Elf* elf) const { elf_end(elf); }
};

// In .eh_frame (LSB 5.0, "Exception Frames") what comes behind a length says of code how to unwind
// from it: by way of an entry of its own, whose identifier is 0, and what changes along the code.
// Takes out what changes: all code goes by what holds where a function begins.
void forget_frames(std::span<uint8_t> section) {
  constexpr size_t kWord = sizeof(uint32_t), kRange = 2 * kWord;
  constexpr std::string_view kAugmentation("zR\0", 3);  // a length before what else it says
  bool known = false;
  for (size_t at = 0; at + 2 * kWord <= section.size();) {
    uint32_t length = 0, common = 0;
    std::memcpy(&length, section.data() + at, kWord);
    std::memcpy(&common, section.data() + at + kWord, kWord);
    const size_t begin = at + 2 * kWord, end = at + kWord + length;
    if (length < kWord || end > section.size()) return;
    if (common == 0) {
      const size_t version = 1, wanted = begin + version + kAugmentation.size();
      known = wanted <= end && std::memcmp(section.data() + begin + version, kAugmentation.data(),
                                           kAugmentation.size()) == 0;
    } else if (known && begin + kRange < end) {
      const size_t data = begin + kRange, more = section[data];
      if (more < 0x80 && data + 1 + more < end) {
        std::memset(section.data() + data + 1 + more, 0, end - (data + 1 + more));  // DW_CFA_nop
      }
    }
    at = end;
  }
}

void forget_frames(Elf* elf, Bytes& image) {
  size_t names = 0;
  if (elf_getshdrstrndx(elf, &names) != 0) return;
  Elf_Scn* section = nullptr;
  while ((section = elf_nextscn(elf, section)) != nullptr) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr) continue;
    const char* const name = elf_strptr(elf, names, header.sh_name);
    if (name == nullptr || std::string_view(name) != ".eh_frame") continue;
    if (header.sh_offset > image.size() || header.sh_size > image.size() - header.sh_offset) return;
    forget_frames(std::span(image).subspan(header.sh_offset, header.sh_size));
  }
}

// The section of dynamic symbols; null if there is none.
Elf_Scn* find_symbols(Elf* elf, GElf_Shdr& header) {
  Elf_Scn* section = nullptr;
  while ((section = elf_nextscn(elf, section)) != nullptr) {
    if (gelf_getshdr(section, &header) != nullptr && header.sh_type == SHT_DYNSYM) return section;
  }
  return nullptr;
}

}  // namespace

std::optional<uint64_t> VdsoCalls::find(uint32_t number) const {
  for (const Function& function : functions) {
    if (function.number == number) return function.offset;
  }
  return std::nullopt;
}

void VdsoCalls::add(Function function) {
  for (Function& known : functions) {
    if (known.number == function.number) return;
    if (known.number != 0) continue;
    known = function;
    return;
  }
}

Result<VdsoCalls> make_functions_calls(Bytes& image) {
  constexpr const char* kWhat = "the kernel's vDSO";
  if (elf_version(EV_CURRENT) == EV_NONE) {
    return fail(ErrorKind::kMachine, fmt::format("{}: libelf is too old", kWhat));
  }
  const std::unique_ptr<Elf, End> elf(
      elf_memory(reinterpret_cast<char*>(image.data()), image.size()));
  GElf_Shdr header;
  Elf_Scn* const section = elf ? find_symbols(elf.get(), header) : nullptr;
  Elf_Data* const data = section != nullptr ? elf_getdata(section, nullptr) : nullptr;
  if (data == nullptr) {
    return fail(ErrorKind::kMachine, fmt::format("{} has no symbols: {}", kWhat, elf_errmsg(-1)));
  }
  VdsoCalls calls;
  uint64_t room_worth = 0;
  GElf_Sym symbol;
  for (int i = 0; gelf_getsym(data, i, &symbol) != nullptr; ++i) {
    if (GELF_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) continue;
    const char* const name = elf_strptr(elf.get(), header.sh_link, symbol.st_name);
    if (name == nullptr) continue;
    if (symbol.st_size < kCodeBytes || symbol.st_value > image.size() - kCodeBytes) {
      return fail(ErrorKind::kMachine, fmt::format("{}: {} cannot be replaced", kWhat, name));
    }
    uint8_t* const code = image.data() + symbol.st_value;
    const std::optional<uint32_t> number = number_of(name);
    // Under a name that fits, where a debugger shows it.
    const uint64_t worth = symbol.st_size + (number == SYS_clock_gettime ? image.size() : 0);
    if (worth > room_worth && symbol.st_size <= image.size() - symbol.st_value) {
      room_worth = worth;
      calls.room = symbol.st_value + kCodeBytes;
      calls.room_bytes = symbol.st_size - kCodeBytes;
    }
    if (number) {
      write_call(*number, code);
      calls.syscall = symbol.st_value + kSyscallOffset;
      calls.add({*number, symbol.st_value});
    } else {
      write_refusal(code);
    }
  }
  if (calls.syscall == 0) {
    return fail(ErrorKind::kMachine, fmt::format("{} has none of the known functions", kWhat));
  }
  forget_frames(elf.get(), image);
  return calls;
}

}  // namespace rchk::record
