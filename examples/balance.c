// A small bank with a bug: at the end one account's limit is wrong, and nothing says since when.
// `./dev demo` finds out by running the program backwards.
#include <stdio.h>
#include <string.h>

enum { kAccounts = 4, kTransfers = 200 };

struct Account {
  char owner[8];
  int limit;
  int balance;
};

static struct Account accounts[kAccounts] = {
    {"alice", 500, 1000}, {"bob", 500, 1000}, {"carol", 500, 1000}, {"dave", 500, 1000}};

static void transfer(int from, int to, int amount) {
  if (amount > accounts[from].limit) return;
  accounts[from].balance -= amount;
  accounts[to].balance += amount;
}

static void rename_owner(int account, const char* name) { strcpy(accounts[account].owner, name); }

static void report(void) {
  for (int i = 0; i < kAccounts; ++i) {
    const struct Account* account = &accounts[i];
    printf("%-8.8s  limit %d  balance %5d\n", account->owner, account->limit, account->balance);
  }
}

int main(void) {
  unsigned random = 7;
  for (int i = 0; i < kTransfers; ++i) {
    random = random * 1664525 + 1013904223;
    transfer((random >> 8) % kAccounts, (random >> 16) % kAccounts, (random >> 24) % 50);
    if (i == 123) rename_owner(2, "caroline");
  }
  report();
  return 0;
}
