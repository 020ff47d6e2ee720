# shellcheck shell=sh
# Installs exactly the locked packages into the working directory and names their programs.
NODE_EXTRA_CA_CERTS=/run/secrets/ca npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier

mkdir bin
# link NAME PATTERN: the program that the pattern leads to.
link() {
  for target in node_modules/$2; do
    ln -s "../$target" "bin/$1"
  done
}
link node 'node-linux-*/bin/node'
link npm npm/bin/npm-cli.js
link npx npm/bin/npx-cli.js
link pnpm pnpm/bin/pnpm.cjs
link pnpx pnpm/bin/pnpx.cjs
