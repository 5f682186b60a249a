# A shell inside a terminal inside a server that detaches itself; everything in one recording.
set -eu
tmux() { command tmux -S ./socket -f /dev/null "$@"; }
seen() {
  for ((i = 0; i < 600; i++)); do
    tmux capture-pane -p | grep -q "$1\$" && return
    sleep 0.05
  done
  echo "never saw: $1"
  exit 1
}
env -i PATH="$PATH" TERM=screen ENV= PS1='> ' LC_ALL=C.UTF-8 HOME="$PWD" \
  tmux -S ./socket -f /dev/null new-session -d -x 80 -y 24 /bin/sh
tmux send-keys 'echo $((6 * 7)) done' Enter
seen '42 done'
tmux send-keys 'stty size' Enter
seen '24 80'
tmux split-window -h /bin/sh
tmux send-keys 'seq 1 3; echo sec""ond' Enter
seen 'second'
tmux list-panes -F '#{pane_index} #{pane_width}x#{pane_height}'
tmux kill-server
