// build: -O1
#include <functional>
#include <memory>
#include <vector>

#include "guest.h"

struct Shape {
  virtual ~Shape() = default;
  virtual int area(int scale) const = 0;
};
struct Square : Shape {
  int area(int scale) const override { return scale * scale; }
};
struct Strip : Shape {
  int area(int scale) const override { return scale * 2; }
};

int main() {
  std::vector<std::unique_ptr<Shape>> shapes;
  for (int i = 0; i < 1000; ++i) {
    if (i % 3 == 0) {
      shapes.push_back(std::make_unique<Square>());
    } else {
      shapes.push_back(std::make_unique<Strip>());
    }
  }
  std::vector<std::function<int(int)>> more = {[](int x) { return x + 1; },
                                               [&](int x) { return int(shapes.size()) + x; }};
  long sum = 0;
  for (int round = 0; round < 100; ++round) {
    for (const auto& shape : shapes) sum += shape->area(round);
    for (const auto& function : more) sum += function(round);
  }
  printf("%ld ", sum);
  return passed();
}
