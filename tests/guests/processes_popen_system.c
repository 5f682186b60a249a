// build: -O1 -D_GNU_SOURCE
#include <sys/wait.h>

#include "tasks.h"

int main(void) {
  char line[100];
  FILE* out = popen("echo one; echo two; exit 5", "r");
  CHECK(out != NULL && fgets(line, sizeof line, out) != NULL && strcmp(line, "one\n") == 0);
  CHECK(fgets(line, sizeof line, out) != NULL && strcmp(line, "two\n") == 0);
  CHECK(WEXITSTATUS(pclose(out)) == 5);
  FILE* in = popen("sort -n", "w");
  CHECK(in != NULL);
  for (int i = 0; i < 20; i++) fprintf(in, "%d\n", i * 7 % 20);
  fflush(stdout);
  CHECK(pclose(in) == 0);
  CHECK(WEXITSTATUS(system("exit 9")) == 9);
  int status = system("kill -TERM $$");
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == 15);
  CHECK(system(NULL) != 0);
  return passed();
}
