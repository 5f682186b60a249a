#include "engine/record/vdso.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
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

// The section of dynamic symbols; null if there is none.
Elf_Scn* find_symbols(Elf* elf, GElf_Shdr& header) {
  Elf_Scn* section = nullptr;
  while ((section = elf_nextscn(elf, section)) != nullptr) {
    if (gelf_getshdr(section, &header) != nullptr && header.sh_type == SHT_DYNSYM) return section;
  }
  return nullptr;
}

}  // namespace

Result<uint64_t> make_functions_calls(Bytes& image) {
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
  std::optional<uint64_t> syscall;
  GElf_Sym symbol;
  for (int i = 0; gelf_getsym(data, i, &symbol) != nullptr; ++i) {
    if (GELF_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) continue;
    const char* const name = elf_strptr(elf.get(), header.sh_link, symbol.st_name);
    if (name == nullptr) continue;
    if (symbol.st_size < kCodeBytes || symbol.st_value > image.size() - kCodeBytes) {
      return fail(ErrorKind::kMachine, fmt::format("{}: {} cannot be replaced", kWhat, name));
    }
    uint8_t* const code = image.data() + symbol.st_value;
    if (const std::optional<uint32_t> number = number_of(name)) {
      write_call(*number, code);
      syscall = symbol.st_value + kSyscallOffset;
    } else {
      write_refusal(code);
    }
  }
  if (!syscall) {
    return fail(ErrorKind::kMachine, fmt::format("{} has none of the known functions", kWhat));
  }
  return *syscall;
}

}  // namespace rchk::record
