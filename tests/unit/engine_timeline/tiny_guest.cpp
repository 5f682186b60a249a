#include "tests/unit/engine_timeline/tiny_guest.h"

#include <chrono>
#include <cstring>
#include <fstream>

#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/trace/writer.h"

// The guests' code. It is copied into files of its own: nothing in it may refer to this program.
asm(R"(
    .pushsection .rodata
rchk_rounds_begin:
    mov $0x500000, %r12d
    mov $12, %ebx
1:  mov %rbx, (%r12)
    call rchk_rounds_subroutine
    mov $39, %eax               # getpid
    syscall
    mov %rax, 16(%r12)
    lea 64(%r12), %rsi
    lea 192(%r12), %rdi
    mov $100, %ecx
    rep movsb
    movq %rbx, %xmm3
    movdqu %xmm3, 400(%r12)
    dec %ebx
    jnz 1b
    mov $60, %eax
    mov $3, %edi
    syscall
rchk_rounds_subroutine:
    add %rbx, 8(%r12)
    movb %bl, 64(%r12,%rbx)
    push %rbx
    pop %rdx
    ret
rchk_rounds_end:

rchk_spin_begin:
    mov $0x500000, %r12d
1:  mov (%r12), %rax
    add $1, %rax
    mov %rax, (%r12)
    mov $0, %eax
    jmp 1b
rchk_spin_end:

rchk_fill_begin:
    xor %ebx, %ebx
1:  mov $0x500000, %edi
    mov $0x4000000, %ecx
    inc %ebx
    mov %ebx, %eax
    rep stosb
    jmp 1b
rchk_fill_end:

rchk_dirty_begin:
    xor %ebx, %ebx
1:  inc %rbx
    mov $0x500000, %edi
2:  mov %rbx, (%rdi)
    add $4096, %rdi
    cmp $0x4500000, %rdi
    jb 2b
    jmp 1b
rchk_dirty_end:
    .popsection
)");

extern "C" {
extern const uint8_t rchk_rounds_begin[], rchk_rounds_subroutine[], rchk_rounds_end[];
extern const uint8_t rchk_spin_begin[], rchk_spin_end[];
extern const uint8_t rchk_fill_begin[], rchk_fill_end[];
extern const uint8_t rchk_dirty_begin[], rchk_dirty_end[];
}

namespace rchk::timeline::test {

namespace {

std::span<const uint8_t> code_of(TinyGuest which) {
  switch (which) {
    case TinyGuest::kRounds:
      return {rchk_rounds_begin, rchk_rounds_end};
    case TinyGuest::kSpin:
      return {rchk_spin_begin, rchk_spin_end};
    case TinyGuest::kFill:
      return {rchk_fill_begin, rchk_fill_end};
    case TinyGuest::kDirty:
      return {rchk_dirty_begin, rchk_dirty_end};
  }
  return {};
}

template <typename T>
void append(Bytes& bytes, const T& value) {
  const auto* raw = reinterpret_cast<const uint8_t*>(&value);
  bytes.insert(bytes.end(), raw, raw + sizeof(value));
}

// A file that the kernel runs: code at kCode, and zeros at kData.
Bytes elf_file(std::span<const uint8_t> code) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_entry = kCode.value;
  header.e_phoff = sizeof(header);
  header.e_ehsize = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 3;
  Elf64_Phdr text{};
  text.p_type = PT_LOAD;
  text.p_flags = PF_R | PF_X;
  text.p_offset = kPageSize;
  text.p_vaddr = kCode.value;
  text.p_filesz = text.p_memsz = code.size();
  text.p_align = kPageSize;
  Elf64_Phdr data{};
  data.p_type = PT_LOAD;
  data.p_flags = PF_R | PF_W;
  data.p_vaddr = kData.value;
  data.p_memsz = kFillBytes;
  data.p_align = kPageSize;
  Elf64_Phdr stack{};
  stack.p_type = PT_GNU_STACK;
  stack.p_flags = PF_R | PF_W;
  Bytes file;
  append(file, header);
  append(file, text);
  append(file, data);
  append(file, stack);
  file.resize(kPageSize);
  file.insert(file.end(), code.begin(), code.end());
  return file;
}

}  // namespace

std::string write_program(TinyGuest which) {
  std::string path = "/tmp/rchk_tiny_guest.XXXXXX";
  const int fd = mkstemp(path.data());
  const Bytes file = elf_file(code_of(which));
  EXPECT_EQ(static_cast<ssize_t>(file.size()), write(fd, file.data(), file.size()));
  EXPECT_EQ(0, fchmod(fd, 0700));
  close(fd);
  return path;
}

GuestAddress subroutine() {
  return kCode + static_cast<uint64_t>(rchk_rounds_subroutine - rchk_rounds_begin);
}

LiveGuest::LiveGuest(TinyGuest which) : path_(write_program(which)) {
  record::RecorderOptions options;
  options.program.arguments = {path_};
  log_ = std::make_unique<trace::EventLog>(record::Recorder::describe(options));
  recorder_ = value_of(record::Recorder::start(options, *log_));
  live_ = std::make_unique<LiveProgram>(*recorder_, *log_);
  timeline_ = value_of(Timeline::open_live(*log_, *live_, std::nullopt, {}));
  const auto joined = live_->join(*timeline_);
  EXPECT_TRUE(joined) << (joined ? "" : joined.error().message());
}

LiveGuest::~LiveGuest() { unlink(path_.c_str()); }

RecordedGuest::RecordedGuest() {
  for (;;) {
    const auto stop = value_of(live_.recorder().run({}));
    if (stop.cause == record::StopCause::kExited) break;
  }
  timeline_ = value_of(Timeline::open(log(), std::nullopt, {}));
}

SnapshottedGuest::SnapshottedGuest() : SnapshottedGuest(std::vector<std::string>()) {
  EXPECT_GE(reader_->snapshots()->marks().size(), kRounds / 2);
}

SnapshottedGuest::SnapshottedGuest(std::vector<std::string> command,
                                   std::chrono::milliseconds interval)
    : program_(write_program(TinyGuest::kRounds)), recording_(program_ + ".rchk") {
  record::RecorderOptions options;
  options.program.arguments = command.empty() ? std::vector{program_} : std::move(command);
  options.snapshot_interval = interval;
  options.snapshot_overhead_percent = 1e9;
  {
    const auto writer =
        value_of(trace::TraceWriter::create(recording_, record::Recorder::describe(options)));
    const auto recorder = value_of(record::Recorder::start(options, *writer));
    while (value_of(recorder->run({})).cause != record::StopCause::kExited) continue;
    EXPECT_TRUE(writer->close());
  }
  reader_ = value_of(trace::TraceReader::open(recording_));
}

SnapshottedGuest::~SnapshottedGuest() {
  unlink(program_.c_str());
  unlink(recording_.c_str());
}

State state_of(Timeline& timeline) {
  State state{value_of(timeline.position()), value_of(timeline.registers()),
              value_of(timeline.extended_state()), Bytes(512)};
  EXPECT_EQ(state.memory.size(), timeline.read_memory(kData, state.memory));
  return state;
}

std::string difference_apart_from_position(const State& expected, const State& found) {
  std::string text;
  if (!same_guest_state(expected.registers, found.registers)) {
    text += describe_difference(expected.registers, found.registers);
  }
  if (!same_extended_state(expected.extended_state, found.extended_state)) {
    text += "vector registers differ\n";
  }
  if (expected.memory != found.memory) text += "memory differs\n";
  return text;
}

std::string difference(const State& expected, const State& found) {
  std::string text = difference_apart_from_position(expected, found);
  if (expected.position != found.position) {
    text += fmt::format("position: expected {} found {}\n", expected.position, found.position);
  }
  return text;
}

RunCommand command(RunKind kind) {
  RunCommand result;
  result.kind = kind;
  return result;
}

RunCommand for_milliseconds(int milliseconds) {
  using Clock = std::chrono::steady_clock;
  RunCommand result;
  const auto end = Clock::now() + std::chrono::milliseconds(milliseconds);
  result.interrupted = [end] { return Clock::now() >= end; };
  return result;
}

TimelineStop forward(Timeline& timeline, RunKind kind) {
  return value_of(timeline.forward(command(kind)));
}

TimelineStop backward(Timeline& timeline, RunKind kind) {
  return value_of(timeline.backward(command(kind)));
}

}  // namespace rchk::timeline::test
