# The repository that git_local.sh clones; made outside of the recording.
set -eu
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_AUTHOR_DATE='1700000000 +0000'
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org GIT_COMMITTER_DATE='1700000000 +0000'
git init -q -b main origin
cd origin
for commit in 1 2 3 4 5; do
  for file in 1 2 3 4 5 6 7 8; do
    seq -f "line-%g of $file in $commit" 1 $((commit * 60)) > file-$file
  done
  git add .
  git commit -q -m "commit $commit"
done
