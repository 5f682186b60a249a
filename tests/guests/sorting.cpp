// build: -O2 -static
#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "guest.h"

int main() {
  std::vector<uint32_t> values;
  uint32_t seed = 1;
  for (int i = 0; i < 200000; ++i) values.push_back(seed = seed * 1664525 + 1013904223);
  std::sort(values.begin(), values.end());
  std::map<std::string, int> tree;
  std::unordered_map<std::string, int> hashed;
  for (size_t i = 0; i < values.size(); i += 20) {
    tree[std::to_string(values[i] % 5000)]++;
    hashed[std::to_string(values[i] % 5000)]++;
  }
  CHECK(tree.size() == hashed.size());
  for (const auto& [key, count] : tree) CHECK(hashed[key] == count);
  printf("%u %zu ", values[1000], tree.size());
  return passed();
}
