#!/bin/bash
# An origin, a checkout, a lane that has landed and one that has not.
set -eu
install --directory --owner=agent --group=agent /srv/repos /srv/lanes /srv/origin
exec setpriv --reuid=agent --regid=agent --init-groups env --chdir=/srv HOME=/home/agent bash -eu <<'END'
git config --global user.name agent
git config --global user.email agent@example.com
git config --global init.defaultBranch main
git init --quiet --bare /srv/origin/example.git
git clone --quiet /srv/origin/example.git /srv/repos/example
cd /srv/repos/example
echo 'node_modules/' >.gitignore
git add --all
git commit --quiet --message Begin
git push --quiet origin main
git worktree add --quiet -b landed /srv/lanes/landed
mkdir /srv/lanes/landed/node_modules
head --bytes=1M /dev/urandom >/srv/lanes/landed/node_modules/large
git worktree add --quiet -b open /srv/lanes/open
echo work >/srv/lanes/open/work.txt
END
