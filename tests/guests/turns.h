// Turns that two threads take in memory, each of which ends somewhere in a loop.
#pragma once

#include "tasks.h"

static atomic_int turn, done;

static void* spin(void* argument) {
  while (!done) {
    if (turn == 1) turn = 0;
  }
  return argument;
}

static void take_turns(int count) {
  for (int i = 0; i < count; i++) {
    turn = 1;
    while (turn == 1) {
    }
    getppid();
  }
}
