# Two processes insert into one database at the same time; what they wait for is the other's lock.
set -eu
rows=${1}00
sqlite3 data.db 'create table t(who text, n integer); pragma journal_mode = delete;'
fill() {
  for ((i = 0; i < 10; i++)); do
    echo "begin immediate; with recursive c(x) as (select 1 union all select x + 1 from c
          where x < $rows) insert into t select '$1', x + $i from c; commit;"
  done | sqlite3 -cmd '.timeout 60000' data.db
}
fill a &
first=$!
fill b &
second=$!
wait $first
wait $second
sqlite3 data.db 'select who, count(*), sum(n) from t group by who order by who;
                 pragma integrity_check;'
