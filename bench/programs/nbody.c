// The outer planets by symplectic Euler steps: floating point in a tight loop.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { kBodies = 5 };
struct Body {
  double x[3], v[3], mass;
};

static struct Body bodies[kBodies] = {
    {{0, 0, 0}, {0, 0, 0}, 39.47841760435743},
    {{4.84, -1.16, -0.10}, {0.606, 2.81, -0.0252}, 0.03769},
    {{8.34, 4.12, -0.40}, {-1.01, 1.82, 0.0084}, 0.01128},
    {{12.89, -15.11, -0.22}, {1.08, 0.868, -0.0108}, 0.00172},
    {{15.37, -25.91, 0.18}, {0.979, 0.594, -0.0347}, 0.00203},
};

static void advance(double dt) {
  for (int i = 0; i < kBodies; ++i) {
    for (int j = i + 1; j < kBodies; ++j) {
      double d[3], square = 0;
      for (int k = 0; k < 3; ++k) {
        d[k] = bodies[i].x[k] - bodies[j].x[k];
        square += d[k] * d[k];
      }
      double magnitude = dt / (square * sqrt(square));
      for (int k = 0; k < 3; ++k) {
        bodies[i].v[k] -= d[k] * bodies[j].mass * magnitude;
        bodies[j].v[k] += d[k] * bodies[i].mass * magnitude;
      }
    }
  }
  for (int i = 0; i < kBodies; ++i) {
    for (int k = 0; k < 3; ++k) bodies[i].x[k] += dt * bodies[i].v[k];
  }
}

int main(int argc, char** argv) {
  int steps = argc > 1 ? atoi(argv[1]) : 100000;
  for (int i = 0; i < steps; ++i) advance(0.001);
  printf("%.9f %.9f\n", bodies[0].x[0], bodies[4].v[2]);
  return 0;
}
