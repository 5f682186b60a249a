#pragma once

#include <algorithm>
#include <string_view>

namespace rchk::target {

// Takes the next word, up to a blank, from the front of `text`; empty if there is none.
inline std::string_view next_word(std::string_view& text) {
  const size_t begin = std::min(text.find_first_not_of(' '), text.size());
  text.remove_prefix(begin);
  const size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

}  // namespace rchk::target
