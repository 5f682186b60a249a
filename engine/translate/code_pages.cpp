#include "engine/translate/code_pages.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "engine/translate/decode.h"

namespace rchk::translate {

namespace {
constexpr int kMapError = 1;     // SEGV_MAPERR
constexpr int kAccessError = 2;  // SEGV_ACCERR

// Numbers what was read, over all engines, so that no number names two contents.
uint64_t next_contents() {
  static std::atomic<uint64_t> number{0};
  return ++number;
}
}  // namespace

CodePageCopy& CodePages::look_up(Host& host, GuestAddress address) {
  const GuestAddress base = address.page_floor();
  auto& slot = pages_[base.value];
  if (!slot) slot = std::make_unique<CodePageCopy>();
  last_page_ = base.value;
  last_copy_ = slot.get();
  if (slot->readable) return *slot;
  CodePageCopy& copy = *slot;
  const CodePage what = host.code_page(base);
  copy.writable = what.writable;
  copy.version = what.version;
  copy.contents = next_contents();
  copy.readable = what.executable;
  copy.fault_code = kAccessError;
  if (what.executable && what.shared) let_change(base);
  if (what.executable && what.writable && protecting_ && !copy.checks_itself) {
    auto& known = host.translation_state().protected_pages;
    if (known.contains(base) || host.protect_code_page(base, true)) known[base] = copy.contents;
  }
  const size_t got = host.read_memory(base, copy.bytes);
  if (got < kPageSize) {
    copy.readable = false;
    if (got == 0) copy.fault_code = kMapError;
  }
  return copy;
}

void CodePages::begin_trace() {
  for (CodePageCopy* copy : changing_) copy->readable = false;
}

void CodePages::let_change(GuestAddress page) {
  CodePageCopy* copy = find(page);
  if (copy == nullptr || copy->checks_itself) return;
  copy->checks_itself = true;
  changing_.push_back(copy);
}

CodePageCopy* CodePages::find(GuestAddress address) {
  const auto found = pages_.find(address.page_floor().value);
  return found == pages_.end() ? nullptr : found->second.get();
}

CodePages::Fetched CodePages::fetch(Host& host, GuestAddress pc, std::array<uint8_t, 16>& buffer) {
  CodePageCopy& first = page(host, pc);
  if (!first.readable) return {nullptr, 0, pc, first.fault_code};
  const uint64_t offset = pc - pc.page_floor();
  const size_t here = std::min<size_t>(kPageSize - offset, kMaxInstructionBytes);
  if (here == kMaxInstructionBytes) return {first.bytes.data() + offset, here, {}, 0};
  std::memcpy(buffer.data(), first.bytes.data() + offset, here);
  Instruction probe;
  if (decode(buffer.data(), here, probe) == DecodeStatus::kOk) return {buffer.data(), here, {}, 0};
  const GuestAddress next = pc.page_floor() + kPageSize;
  CodePageCopy& second = page(host, next);
  if (!second.readable) return {buffer.data(), here, next, second.fault_code};
  std::memcpy(buffer.data() + here, second.bytes.data(), kMaxInstructionBytes - here);
  return {buffer.data(), kMaxInstructionBytes, {}, 0};
}

}  // namespace rchk::translate
