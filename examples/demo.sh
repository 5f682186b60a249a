#!/usr/bin/env bash
# The scripted session of `./dev demo`: a wrong value, and who wrote it. Explanations are printed
# between the debugger's commands, which are all its own.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

readonly rchk=build/rchk
readonly program=build/demo/balance
readonly recording=build/demo/balance.rchk
# As printf and gdb's echo write it; colours are for a terminal only.
kBold='' kPlain=''
if [[ -t 1 ]]; then kBold='\033[1m' kPlain='\033[0m'; fi
readonly kBold kPlain

explain() {
  echo
  printf "$kBold%s$kPlain\n" "$@"
}

show() {
  printf '$ %s\n' "$*"
  "$@"
}

mkdir -p build/demo
gcc -g -O0 -fno-stack-protector -U_FORTIFY_SOURCE -o "$program" examples/balance.c

explain "1. examples/balance.c is a small bank. Here it runs, and at the end carol's limit is wrong:" \
  "   all accounts begin with a limit of 500, and nothing in the program changes a limit."
echo
show "$rchk" record -o "$recording" -- "$program"

explain "2. That run is recorded: every instruction of it can be had again, and nothing in it changes." \
  "   Here is its output once more, from the recording."
echo
show "$rchk" replay -a "$recording"
echo
show ls -sh "$recording"

# The debugger's commands, each preceded by what a user would see at the prompt.
commands=()
say() { commands+=(-ex "echo \\n$kBold$1$kPlain\\n"); }
enter() { commands+=(-ex "echo (gdb) $1\\n" -ex "$1"); }

say "3. gdb opens the recording, and goes to where the wrong limit shows."
enter "target remote | $rchk replay --stdio $recording"
enter "break report"
enter "continue"
enter "print accounts[2]"
say "4. Who wrote that limit? A watchpoint on it, and backwards: the program runs in reverse\\n   from here, and stops where the value came into being."
enter "watch accounts[2].limit"
enter "reverse-continue"
say "5. There: 500 (New value, since time runs backwards) before this instruction, and 256 after\\n   it. It is a strcpy, called from here:"
enter "backtrace 3"
enter "up"
enter "print name"
enter "print sizeof accounts[2].owner"
say "6. \\\"caroline\\\" has eight letters, and with the zero behind them nine bytes: one too many\\n   for its field. The ninth fell into the limit. This was transfer number"
commands+=(-ex "frame function main")
enter "print i"
say "7. One instruction on, and the damage is done; one back, and it is not."
enter "stepi"
enter "print accounts[2].limit"
enter "reverse-stepi"
enter "print accounts[2].limit"

gdb -nx -batch \
  -ex "set confirm off" -ex "set pagination off" -ex "set width 100" \
  -ex "set debuginfod enabled off" -ex "set sysroot /" \
  -ex "file $program" "${commands[@]}" </dev/null

explain "That is all: found without guessing, in one run, in one step back." \
  "Try it on a program of your own:   gdb -ex 'target remote | build/rchk PROGRAM' PROGRAM"
