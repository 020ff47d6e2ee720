# shellcheck shell=sh
# The real agent runs a turn against a model that is played here, and speaks to nobody else.
[ "$(id -u)" = 10001 ] || { echo "it starts as user $(id -u) and not as 10001" && exit 1; }
version=$(codex --version | cut -d ' ' -f 2)
[ "$version" = "$EXPECTED_CODEX" ] || { echo "codex is $version, and $EXPECTED_CODEX was asked for" && exit 1; }
[ ! -w /etc/aina-lane/homes/codex/.codex/config.toml ]
[ "$(wc -c </etc/aina-lane/AGENTS.md)" -lt 32768 ]
! find /etc/aina-lane -name AGENTS.override.md | grep .

mkdir /tmp/home /tmp/repository
cp -R /etc/aina-lane/homes/codex/. /tmp/home/
git init --quiet /tmp/repository
cat >/tmp/model.js <<'MODEL'
const fs = require("fs");
const server = require("http").createServer((request, response) => {
  fs.appendFileSync("/tmp/asked", `${request.method} ${request.url}\n`);
  response.writeHead(200, { "content-type": "text/event-stream" });
  const events = [
    { type: "response.created", response: { id: "r" } },
    {
      type: "response.output_item.done",
      item: { type: "message", role: "assistant", content: [{ type: "output_text", text: "done" }] },
    },
    {
      type: "response.completed",
      response: { id: "r", usage: { input_tokens: 1, output_tokens: 1, total_tokens: 2 } },
    },
  ];
  for (const event of events) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  response.end();
});
server.on("connect", (request, socket) => {
  fs.appendFileSync("/tmp/asked", `CONNECT ${request.url}\n`);
  socket.destroy();
});
server.listen(3128, "127.0.0.1");
MODEL
node /tmp/model.js &
model=$!
cd /tmp/repository || exit 1
for _try in 1 2 3 4 5 6 7 8 9 10; do
  sleep 0.5
  node --eval 'require("net").connect(3128, "127.0.0.1").on("connect", () => process.exit(0)).on("error", () => process.exit(1))' &&
    break
done
echo 'say it' | HOME=/tmp/home CODEX_HOME=/tmp/home/.codex HTTPS_PROXY=http://127.0.0.1:3128 HTTP_PROXY=http://127.0.0.1:3128 \
  NO_PROXY=127.0.0.1 codex exec --json --strict-config --dangerously-bypass-approvals-and-sandbox --model gpt-5.5 \
  -c model_reasoning_effort=high --skip-git-repo-check - >/tmp/events 2>/tmp/errors || { cat /tmp/events /tmp/errors && exit 1; }
kill "$model"
grep -q '"turn.completed"' /tmp/events || { cat /tmp/events /tmp/errors && exit 1; }
unsolicited=$(grep -v '^POST /v1/responses$' /tmp/asked || true)
[ -z "$unsolicited" ] || { echo "codex speaks to others than the model: $unsolicited" && exit 1; }
