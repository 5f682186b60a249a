#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/types.h"
#include "engine/translate/block.h"
#include "engine/translate/host.h"

namespace rchk::translate {

// A page of guest code as it was when it was translated.
struct CodePageCopy {
  std::array<uint8_t, kPageSize> bytes{};
  bool readable = false;  // mapped and executable
  bool writable = false;
  int fault_code = 0;  // si_code of a fetch from it when it is not
  uint64_t version = 0;
  uint64_t contents = 0;  // another number whenever `bytes` were read
  unsigned write_faults = 0;
  // Written so often that it is not protected any more, or by others: its blocks check their code
  // themselves.
  bool checks_itself = false;
  std::vector<Block*> blocks;
};

// Reads guest code and keeps copies of the pages that were translated.
class CodePages {
 public:
  // The page's copy; reads it from the host at first, and write-protects it there when the guest
  // could change it.
  CodePageCopy& page(Host& host, GuestAddress address) {
    if (address.page_floor().value == last_page_ && last_copy_->readable) return *last_copy_;
    return look_up(host, address);
  }
  // Whether page() protects what it reads. Off only for code that runs once and is forgotten.
  void set_protecting(bool on) { protecting_ = on; }
  CodePageCopy* find(GuestAddress address);

  // Makes page() read pages anew that nothing keeps from changing. For each trace.
  void begin_trace();
  void let_change(GuestAddress page);

  // The longest run of up to 15 bytes of code at `pc`, in `buffer` or in a copy.
  struct Fetched {
    const uint8_t* bytes = nullptr;
    size_t count = 0;
    GuestAddress fault;  // the first byte that cannot be fetched, when count < 15
    int fault_code = 0;
  };
  Fetched fetch(Host& host, GuestAddress pc, std::array<uint8_t, 16>& buffer);

  auto begin() { return pages_.begin(); }
  auto end() { return pages_.end(); }

 private:
  CodePageCopy& look_up(Host& host, GuestAddress address);

  std::unordered_map<uint64_t, std::unique_ptr<CodePageCopy>> pages_;
  std::vector<CodePageCopy*> changing_;
  bool protecting_ = true;
  uint64_t last_page_ = ~0ull;  // the page asked for last, and its copy
  CodePageCopy* last_copy_ = nullptr;
};

}  // namespace rchk::translate
