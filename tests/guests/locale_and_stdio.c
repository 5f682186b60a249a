// build: -O1
#include <locale.h>
#include <time.h>
#include <wchar.h>

#include "guest.h"

int main(void) {
  char text[200];
  setlocale(LC_ALL, "C.UTF-8");
  wchar_t wide[20];
  CHECK(mbstowcs(wide, "gr\303\274n", 20) == 4);
  struct tm day = {.tm_year = 100, .tm_mon = 1, .tm_mday = 29, .tm_isdst = -1};
  setenv("TZ", "UTC", 1);
  CHECK(mktime(&day) == 951782400);
  CHECK(strftime(text, sizeof text, "%A %j", &day) > 0 && strcmp(text, "Tuesday 060") == 0);
  int a;
  double b;
  CHECK(sscanf("12 3.5e3", "%d %lf", &a, &b) == 2 && a == 12 && b == 3500);
  FILE* file = tmpfile();
  for (int i = 0; i < 3000; ++i) fprintf(file, "%d %g %s\n", i, i / 7.0, "text");
  rewind(file);
  int lines = 0;
  while (fgets(text, sizeof text, file)) ++lines;
  CHECK(lines == 3000);
  return passed();
}
