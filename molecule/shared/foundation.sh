#!/usr/bin/env bash
# Takes over what an earlier run has built, or keeps it: foundation.sh load|save CONTAINER
#
# The base and the image factory-base take minutes, and are the same for all scenarios that build the project's own
# images. They are kept under .cache/ for as long as what they are made of, and what makes them, stays the same, and for
# a week at most. The role under test judges what it finds by its content, as on any server, and builds the rest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

verb=$1 container=$2
collection=collections/ansible_collections/aina/factory
key=$(find "$collection/images/factory-base" "$collection/plugins/module_utils/images" -type f ! -name '*.pyc' -print0 | sort --zero-terminated |
  xargs -0 sha256sum | sha256sum | cut -c 1-16)
directory=.cache/molecule
kept=$directory/foundation-$(uname -m)-$key.tar
mkdir -p "$directory"
find "$directory" -name 'foundation-*' \( ! -name "${kept##*/}*" -o -mtime +6 \) -delete

case $verb in
  load)
    if [[ -e $kept ]]; then
      docker exec --interactive "$container" docker load --quiet <"$kept"
    fi
    ;;
  save)
    if [[ ! -e $kept ]]; then
      docker exec "$container" docker save aina-factory/base:trixie aina-factory/factory-base:current >"$kept.$$"
      mv "$kept.$$" "$kept"
    fi
    ;;
esac
