#!/bin/sh
# The same state by hand: the set-up script that a person would write, run on the host. It reads
# what site.yml has declared there (packages, units, users, files) from the directory beside it.
set -eu
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive
xargs apt-get install -qq -y --no-install-recommends <packages >/dev/null
while read -r user; do
  id "$user" >/dev/null 2>&1 || useradd --create-home "$user"
done <users
(cd files && find . -type f) | while read -r file; do
  target=${file#.}
  if ! cmp -s "files/$file" "$target"; then
    mkdir -p "$(dirname "$target")"
    cp -p "files/$file" "$target"
  fi
done
update-ca-certificates >/dev/null 2>&1
sysctl -q -p /etc/sysctl.d/60-aina-factory.conf
dockerd --validate --config-file /etc/docker/daemon.json >/dev/null 2>&1
factory validate >/dev/null
systemctl daemon-reload
xargs systemctl enable --quiet --now <units
for image in factory-base ci lane; do
  docker image inspect "aina-factory/$image:current" >/dev/null 2>&1 || echo "missing: $image"
done
