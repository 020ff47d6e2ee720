# shellcheck shell=sh
# Every tool is there in the version that was asked for, and works.
prove() {
  case "$2." in
    "$3".*) ;;
    *) echo "$1 is $2, and $3 was asked for" && exit 1 ;;
  esac
}
prove node "$(node --version | tr -d v)" "$EXPECTED_NODE"
prove npm "$(npm --version)" "$EXPECTED_NPM"
prove pnpm "$(pnpm --version)" "$EXPECTED_PNPM"
[ "$(node --eval 'console.log([1, 2, 3].reduce((a, b) => a + b))')" = 6 ]
[ "$(echo '{"a": [1, 2]}' | jq .a[1])" = 2 ]
[ "$(echo needle | rg --count needle)" = 1 ]
gh --version >/dev/null
[ "$(bash -lc 'node --version')" = "$(node --version)" ]
git init --quiet /tmp/repository
git -C /tmp/repository -c user.name=x -c user.email=x@example.com commit --quiet --allow-empty --message first
