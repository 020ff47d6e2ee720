# shellcheck shell=bash
# What the pinned codex itself does when something is missing, full or refused. Runs in a container of the lane's
# image with the whole isolation of a lane; all cases at once, one directory of /tmp/out each, printed as one tar archive.
set -u
export PATH=/opt/toolchain/bin:$PATH
node - <<'MODEL' &
const fs = require("fs");
const say = (item, usage = 1) => [
  { type: "response.created", response: { id: "r" } },
  { type: "response.output_item.done", item },
  { type: "response.completed", response: { id: "r", usage: { input_tokens: usage, output_tokens: usage, total_tokens: 2 * usage } } },
];
// A case is known by the model that it asks for: NAME, or NAME.STATUS.
require("http").createServer((request, response) => {
  let body = "";
  request.on("data", (piece) => (body += piece));
  request.on("end", () => {
    const asked = body ? JSON.parse(body) : {};
    const [name, status] = (asked.model || request.url.split("/")[1]).split(".");
    fs.appendFileSync("/tmp/asked", JSON.stringify({ name, method: request.method, url: request.url, input: JSON.stringify(asked.input), key: request.headers.authorization }) + "\n");
    if (status || request.method !== "POST") {
      response.writeHead(Number(status) || 404, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: { message: `played ${status}`, type: "played", code: "insufficient_quota" } }));
      return;
    }
    const done = asked.input.some((item) => item.type === "function_call_output");
    const call = { type: "function_call", call_id: "c", name: "exec_command", arguments: JSON.stringify({ cmd: "echo edited >> a.txt", yield_time_ms: 30000 }) };
    const words = { type: "message", role: "assistant", content: [{ type: "output_text", text: "done " + "x".repeat(name === "reader" ? 3e6 : 9) }] };
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const event of say(done ? words : call)) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    response.end();
  });
}).on("upgrade", (request, socket) => {
  fs.appendFileSync("/tmp/asked", JSON.stringify({ name: request.url.split("/")[1], method: "UPGRADE", url: request.url }) + "\n");
  socket.end("HTTP/1.1 404 Not Found\r\n\r\n");
}).listen(3128, "127.0.0.1", () => fs.writeFileSync("/tmp/ready", ""));
MODEL
model=$!
touch /tmp/asked
until [[ -e /tmp/ready ]]; do sleep 0.1; done

# prepare NAME: a home and a repository of its own, and where its results go.
prepare() {
  mkdir -p "/tmp/out/$1" "/home/lane/$1/repository"
  cp -R /etc/aina-lane/homes/codex/.codex "/home/lane/$1/.codex"
  cp /etc/aina-lane/AGENTS.md "/home/lane/$1/.codex/AGENTS.md"
  git init --quiet "/home/lane/$1/repository"
  echo "words of the repository" >"/home/lane/$1/repository/AGENTS.md"
}

BYPASS=(--dangerously-bypass-approvals-and-sandbox)
# run NAME WORDS...: one turn with the lane's own settings, changed by WORDS.
run() {
  local name=$1
  shift
  cd "/home/lane/$name/repository" || exit 1
  echo "say it" | HOME=/home/lane/$name CODEX_HOME=${CODEX:-/home/lane/$name/.codex} timeout "${LIMIT:-60}" \
    codex exec --json --model "${MODEL:-$name}" --skip-git-repo-check "$@" - >"/tmp/out/$name/events" 2>"/tmp/out/$name/errors"
  echo $? >"/tmp/out/$name/status"
  cat a.txt >"/tmp/out/$name/edited" 2>/dev/null
  find "/home/lane/$name" -path '*/sessions/*' -type f >"/tmp/out/$name/sessions"
}

for name in baseline baked missing temporary noexec sandbox landlock nobody forever key chat builtin command full reader ephemeral override \
  s400 s401 s403 s429 s503; do
  prepare $name
done

run baseline "${BYPASS[@]}" &
CODEX=/etc/aina-lane/homes/codex/.codex run baked "${BYPASS[@]}" &
CODEX=/home/lane/nowhere run missing "${BYPASS[@]}" &
mv /home/lane/temporary/.codex /tmp/codex && CODEX=/tmp/codex run temporary "${BYPASS[@]}" &
cp -R /home/lane/noexec/.codex /noexec/codex && CODEX=/noexec/codex TMPDIR=/noexec run noexec "${BYPASS[@]}" &
run sandbox --sandbox workspace-write &
run landlock --sandbox workspace-write -c features.use_legacy_landlock=true &
wait %2 %3 %4 %5 %6 %7 %8 2>/dev/null
run nobody "${BYPASS[@]}" -c 'model_providers.lane.base_url="http://127.0.0.1:9/v1"' &
LIMIT=15 run forever "${BYPASS[@]}" -c 'model_providers.lane.base_url="http://127.0.0.1:9/v1"' -c features.unbounded_connection_retries=true &
run key "${BYPASS[@]}" -c 'model_providers.lane.env_key="NOT_SET"' &
run chat "${BYPASS[@]}" -c 'model_providers.lane.wire_api="chat"' &
CODEX_API_KEY=mine LIMIT=30 run builtin "${BYPASS[@]}" -c model_provider=openai -c 'openai_base_url="http://127.0.0.1:3128/builtin"' &
run command "${BYPASS[@]}" -c 'model_providers.lane.auth={command="echo",args=["from-a-file"]}' &
cp -R /home/lane/full/.codex /full/codex && CODEX=/full/codex run full "${BYPASS[@]}" &
run ephemeral "${BYPASS[@]}" --ephemeral &
echo "instead of it" >/home/lane/override/.codex/AGENTS.override.md && run override "${BYPASS[@]}" &
for status in 400 401 403 429 503; do
  MODEL=s$status.$status run s$status "${BYPASS[@]}" &
done
(
  # The reader is gone after the first line.
  cd /home/lane/reader/repository || exit 1
  echo "say it" | HOME=/home/lane/reader CODEX_HOME=/home/lane/reader/.codex timeout 60 codex exec --json --model reader \
    --skip-git-repo-check "${BYPASS[@]}" - 2>/tmp/out/reader/errors | head -n 1 >/tmp/out/reader/events
  echo "${PIPESTATUS[1]}" >/tmp/out/reader/status
) &
for job in $(jobs -p); do
  [[ $job == "$model" ]] || wait "$job"
done
kill "$model"
cp /tmp/asked /tmp/out/asked
tar -cf - -C /tmp/out .
