"""The small shell programs on the host: they must work when Python or the core does not."""

from __future__ import annotations

from . import layout

_RECORD = r"""#!/bin/sh
# Managed by aina.factory.systemd_jobs: writes down how a run ended.
# Usage: record JOB   (environment: SERVICE_RESULT EXIT_CODE EXIT_STATUS INVOCATION_ID,
#        and STARTED_AT_SECONDS where no systemd knows it)
set -eu
umask 022
job=$1
directory=@RUNS@
mkdir -p "$directory"
ended=$(date +%s)
started=${STARTED_AT_SECONDS:-}
if [ -z "$started" ]; then
  started=$(systemctl show --timestamp=unix --property=ExecMainStartTimestamp \
    "@PREFIX@$job.service" | sed -n 's/^ExecMainStartTimestamp=@//p')
fi
result=${SERVICE_RESULT:-unknown}
if [ "$result" = success ] && [ "${EXIT_STATUS:-}" = 75 ]; then
  result=skipped
elif [ "$result" = success ] && [ "${EXIT_CODE:-}" = killed ]; then
  result=replaced
fi
target=$directory/$job.json
temporary=$directory/.$job.$$
{
  printf '{"schema": 1, "job": "%s", "result": "%s", "exit_status": "%s", ' \
    "$job" "$result" "${EXIT_STATUS:-}"
  printf '"started_at_seconds": %s, "ended_at_seconds": %s, "invocation_id": "%s"}\n' \
    "${started:-$ended}" "$ended" "${INVOCATION_ID:-}"
} >"$temporary"
if [ "$result" = success ]; then
  cp "$temporary" "$temporary.success"
  mv "$temporary.success" "$directory/$job.success.json"
fi
mv "$temporary" "$target"
"""

_NOTIFY = r"""#!/bin/sh
# Managed by aina.factory.systemd_jobs: says that a unit failed, in the journal and in a
# file that the watchdog and people find, and calls what stands in @HOOKS@.
# Usage: notify UNIT   (environment: MONITOR_* as systemd sets them for OnFailure=)
set -u
umask 022
unit=$1
directory=@FAILURES@
result=${MONITOR_SERVICE_RESULT:-unknown}
say() { logger -t factory-notify -p daemon.err "$*" || :; }
say "$unit failed: $result ${MONITOR_EXIT_STATUS:-}; see journalctl -u $unit"
temporary=$directory/.$unit.$$
write() {
  mkdir -p "$directory" || return
  {
    printf '{"schema": 1, "unit": "%s", "result": "%s", "exit_code": "%s", "exit_status": "%s", ' \
      "$unit" "$result" "${MONITOR_EXIT_CODE:-}" "${MONITOR_EXIT_STATUS:-}" &&
      printf '"invocation_id": "%s", "failed_at_seconds": %s}\n' \
        "${MONITOR_INVOCATION_ID:-}" "$(date +%s)"
  } >"$temporary" && mv "$temporary" "$directory/$unit.json"
}
# A full disk must not keep anybody from being told.
write || say "the failure of $unit cannot be written to $directory"
rm -f "$temporary"
for hook in @HOOKS@/*; do
  [ ! -x "$hook" ] || timeout 50 "$hook" "$unit" "$result" || say "$hook ended with $?"
done
"""

_QUEUE = r"""#!/bin/sh
# Managed by aina.factory.systemd_jobs: starts a job after its present run has ended.
# systemd itself would merge the new start into the running one.
# Usage: queue UNIT
set -eu
unit=$1
while state=$(systemctl show --property=ActiveState --value "$unit") &&
  { [ "$state" = activating ] || [ "$state" = deactivating ]; }; do
  sleep 2
done
exec systemctl start --no-block "$unit"
"""

_CRON_RUN = r"""#!/bin/sh
# Managed by aina.factory.systemd_jobs: runs one job where cron is the scheduler.
# Usage: cron-run JOB USER TIMEOUT_SECONDS OVERLAP JITTER_SECONDS NICE ON_FAILURE LOCKS -- COMMAND...
#        (LOCKS: names joined by commas, or -)
set -u
umask 022
job=$1 user=$2 limit=$3 overlap=$4 jitter=$5 nice=$6 on_failure=$7 locks=$8
shift 9
for pause in "@PAUSED@/$job" "@RUNTIME_PAUSED@/$job"; do
  if [ -e "$pause" ]; then
    logger -t "@PREFIX@$job" "not run: $pause exists"
    exit 0
  fi
done
[ "$jitter" -eq 0 ] || sleep "$jitter"
STARTED_AT_SECONDS=$(date +%s)
export STARTED_AT_SECONDS
process_file=/run/@PREFIX@$job.pid
own_lock=@LOCKS@/@PREFIX@$job.lock
install -d -m 0700 @LOCKS@
install -d -m 0755 @SHARED_LOCKS@
wait='-n -E 75'
[ "$overlap" != queue ] || wait=
set -- runuser -u "$user" -- "$@"
# Innermost last: the sorted names keep two jobs from waiting for each other.
if [ "$locks" != - ]; then
  for lock in $(printf '%s\n' "$locks" | tr , '\n' | sort -r); do
    # shellcheck disable=SC2086  # two options or none
    set -- flock $wait "@SHARED_LOCKS@/factory-$lock.lock" "$@"
    [ -e "@SHARED_LOCKS@/factory-$lock.lock" ] || (umask 0 && : >>"@SHARED_LOCKS@/factory-$lock.lock")
  done
fi
if [ "$overlap" = kill_old ] && [ -s "$process_file" ]; then
  # Only while the lock is held does the number still belong to the old run.
  flock -n -E 75 "$own_lock" true
  if [ $? -eq 75 ]; then
    kill -TERM "$(cat "$process_file")" 2>/dev/null
  fi
  # The old run may take its 30 seconds to end.
  wait='-w 40 -E 75'
fi
# shellcheck disable=SC2086
set -- timeout --kill-after=30 "$limit" flock $wait "$own_lock" "$@"
output=$(mktemp)
trap 'rm -f "$output"' EXIT
setsid nice -n "$nice" "$@" >"$output" 2>&1 &
process=$!
if [ "$overlap" = kill_old ]; then echo "$process" >"$process_file"; fi
wait "$process"
EXIT_STATUS=$?
logger -t "@PREFIX@$job" -f "$output"
EXIT_CODE=exited
case $EXIT_STATUS in
  0 | 75) SERVICE_RESULT=success ;;
  124 | 137) SERVICE_RESULT=timeout EXIT_CODE=killed ;;
  143)
    EXIT_CODE=killed SERVICE_RESULT=signal
    [ "$overlap" != kill_old ] || SERVICE_RESULT=success
    ;;
  *) SERVICE_RESULT=exit-code ;;
esac
export SERVICE_RESULT EXIT_CODE EXIT_STATUS
@LIBRARY@/record "$job"
if [ "$SERVICE_RESULT" != success ] && [ "$on_failure" = alert ]; then
  MONITOR_SERVICE_RESULT=$SERVICE_RESULT MONITOR_EXIT_CODE=$EXIT_CODE \
    MONITOR_EXIT_STATUS=$EXIT_STATUS @LIBRARY@/notify "@PREFIX@$job.service"
fi
"""

_PLACES = {
    "@PREFIX@": layout.PREFIX,
    "@RUNS@": layout.RUNS_DIR,
    "@FAILURES@": layout.FAILURES_DIR,
    "@HOOKS@": layout.ON_FAILURE_DIR,
    "@PAUSED@": layout.PAUSED_DIR,
    "@RUNTIME_PAUSED@": layout.RUNTIME_PAUSED_DIR,
    "@LIBRARY@": layout.LIBRARY_DIR,
    "@LOCKS@": layout.LOCK_DIR,
    "@SHARED_LOCKS@": layout.SHARED_LOCK_DIR,
}


def _placed(text: str) -> str:
    for mark, place in _PLACES.items():
        text = text.replace(mark, place)
    return text


SYSTEMD = {"record": _placed(_RECORD), "notify": _placed(_NOTIFY), "queue": _placed(_QUEUE)}
CRON = {"record": _placed(_RECORD), "notify": _placed(_NOTIFY), "cron-run": _placed(_CRON_RUN)}
