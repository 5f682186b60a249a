# A clone of a local repository over a pipe, some work in it, and its packing.
set -eu
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=$PWD
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_AUTHOR_DATE='1700000000 +0000'
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org GIT_COMMITTER_DATE='1700000000 +0000'
git clone -q --no-local origin copy
cd copy
git checkout -q -b topic
echo more >> file-1
git commit -q -a -m more
git push -q origin topic
git gc -q --aggressive --prune=now
git fsck --strict --no-progress
git count-objects -v | grep -v size
git log --oneline --stat -n 3 topic
git grep -c line-7 | head -n 3
