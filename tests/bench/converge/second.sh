#!/bin/sh
# The same state by hand: what a person's second run of a set-up script does.
set -eu
for package in git python3 ca-certificates docker.io docker-cli; do
  dpkg-query -W -f '${Status}' "$package" | grep -q 'install ok installed'
done
id ali >/dev/null
mkdir -p /etc/aina-factory/conf.d /var/lib/aina-factory /srv/repos
cd /opt/bench-files
find . -type f -not -name names.json | while read -r file; do
  cmp -s "$file" "/${file#./}" || cp "$file" "/${file#./}"
done
sysctl -n fs.inotify.max_user_watches fs.inotify.max_user_instances >/dev/null
systemctl is-active docker.service systemd-journald.service factory-job-janitor.timer >/dev/null
docker info --format '{{.Driver}}' >/dev/null
