# shellcheck shell=sh
# Installs into the working directory what NODE, NPM, PNPM and YARN ask for; none of them may be enough.
mkdir -p bin
set --
[ -z "$NODE" ] || set -- "$@" "node-linux-$(node --print process.arch)@$NODE"
[ -z "$NPM" ] || set -- "$@" "npm@$NPM"
[ -z "$PNPM" ] || set -- "$@" "pnpm@$PNPM"
[ -z "$YARN" ] || set -- "$@" "yarn@$YARN"
[ $# -gt 0 ] || exit 0

echo '{"private": true}' >package.json
NODE_EXTRA_CA_CERTS=/run/secrets/ca npm install --ignore-scripts --no-audit --no-fund --no-update-notifier "$@"

# link NAME PATTERN: the program that the pattern leads to, if it was installed.
link() {
  for target in node_modules/$2; do
    [ ! -e "$target" ] || ln -s "../$target" "bin/$1"
  done
}
link node 'node-linux-*/bin/node'
link npm npm/bin/npm-cli.js
link npx npm/bin/npx-cli.js
link pnpm pnpm/bin/pnpm.cjs
link pnpx pnpm/bin/pnpx.cjs
link yarn yarn/bin/yarn.js
