// build: -O1
#include <stdexcept>
#include <string>

#include "guest.h"

static int thrown = 0;

struct Counter {
  ~Counter() { ++thrown; }
};

static void deep(int depth) {
  Counter counter;
  if (depth == 0) throw std::runtime_error("bottom");
  deep(depth - 1);
}

int main() {
  for (int round = 0; round < 50; ++round) {
    try {
      deep(round % 20);
      CHECK(false);
    } catch (const std::exception& error) {
      CHECK(std::string(error.what()) == "bottom");
    }
  }
  CHECK(thrown == 50 + 2 * 190 + 45);
  return passed();
}
