# Pipelines, jobs, traps, here documents and substitutions, with an output that is always the same.
set -u
trap 'echo "exit trap, status $?"' EXIT
trap 'echo usr1; usr1=1' USR1
trap 'echo term' TERM

seq 1 2000 | grep 7 | sort -rn | head -n 3
printf 'b\na\nc\n' | sort | tr a-z A-Z | paste -sd,
echo "status of a pipeline: $(false | true; echo "${PIPESTATUS[*]}")"

usr1=0
kill -USR1 $$
while [ $usr1 = 0 ]; do :; done

# A trap that comes while a child runs is taken when the child has ended.
(sleep 0.05; kill -TERM $$; : > killed) &
killer=$!
(until [ -e killed ]; do sleep 0.01; done)
wait $killer
echo "killer ended with $?"

trap - TERM
sleep 60 &
sleeper=$!
# A shell that is killed before its exec may say so.
until [ "$(cat /proc/$sleeper/comm)" = sleep ]; do sleep 0.01; done
kill $sleeper
wait $sleeper
echo "sleeper ended with $?"

for i in 1 2 3 4; do
  (for ((k = 0; k < 300 * i; k++)); do :; done; exit $i) &
  jobs[i]=$!
done
for i in 1 2 3 4; do
  wait "${jobs[i]}"
  echo "job $i: $?"
done

diff <(seq 1 10) <(seq 1 2 20 | head -n 5) | wc -l
cat <<EOF | while read -r word rest; do echo "$rest $word"; done
one two three
four five six
EOF
coproc cat
echo through the coprocess >&"${COPROC[1]}"
read -r line <&"${COPROC[0]}"
echo "$line"
mkfifo fifo
(echo from the fifo > fifo) &
writer=$!
cat fifo
wait $writer
find . -name fifo | xargs -n 1 -P 2 basename
(trap 'echo inner; exit 6' INT; kill -INT $BASHPID; echo not reached)
echo "subshell: $?"
exec 9<&-
exit 3
