// build: -O0 -no-pie
#include <stdio.h>

struct Item {
  int value;
  struct Item* next;
};

struct Item third = {3, NULL}, second = {2, &third}, first = {1, &second};
int sum;

void damage(struct Item* item) {
  item->next = (struct Item*)0x30;  // mark: damage
}

int main(void) {
  damage(&second);
  for (struct Item* item = &first; item != NULL; item = item->next) {
    sum += item->value;  // mark: crash
  }
  return sum;
}
