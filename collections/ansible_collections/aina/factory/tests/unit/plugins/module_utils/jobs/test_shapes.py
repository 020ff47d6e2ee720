"""Lines of crontabs in the shapes that people write, each with what it runs.

The shapes were found in public crontabs and guides; names of hosts and people are made up.
"""

from __future__ import annotations

import pytest

from factory.core.jobs import command_lines

PHP = "/usr/bin/php"
# The command, the programs that it runs, and whether it is known to run that one alone.
SHAPES: list[tuple[str, list[str], bool]] = [
    # Plain, with arguments, redirections and comments.
    ("/opt/a.sh", ["/opt/a.sh"], True),
    ("/opt/a.sh >/dev/null 2>&1", ["/opt/a.sh"], True),
    ("/opt/a.sh >> /var/log/a.log 2>/var/log/a.err", ["/opt/a.sh"], True),
    ("/opt/a.sh 1>&2", ["/opt/a.sh"], True),
    ("/opt/a.sh < /dev/null &> /dev/null", ["/opt/a.sh"], True),
    ("/opt/a.sh -x 'two words' \"$HOME/x\"   # nightly", ["/opt/a.sh"], True),
    ("/usr/sbin/squid -k rotate", ["/usr/sbin/squid"], True),
    ("certbot renew --quiet", ["certbot"], True),
    ("find /tmp -mtime +7 -exec rm {} \\;", ["find"], True),
    # Interpreters and shells.
    ("/usr/bin/python3 /opt/m.py --all >> /var/log/m.log 2>&1", ["/opt/m.py"], True),
    ("/opt/app/.venv/bin/python /opt/app/m.py", ["/opt/app/m.py"], True),
    ("python3 -m jobs.daily", ["python3"], True),
    ("bash -e /opt/a.sh", ["/opt/a.sh"], True),
    ("bash -lc '/opt/a.sh'", ["/opt/a.sh"], True),
    ("bash -lc 'bash ~/jobs/a.sh >> ~/logs/a.log 2>&1'", ["/home/ali/jobs/a.sh"], True),
    ("bash -lc 'cd ~/app && ./nightly.sh >> ~/n.log 2>&1'", ["/home/ali/app/nightly.sh"], True),
    ("/bin/sh -c \"/opt/a.sh; /opt/b.sh\"", ["/opt/a.sh", "/opt/b.sh"], False),
    ("bash -lc '(pm2 delete srv || true)' >> /var/log/x 2>&1", ["pm2"], True),
    ("perl -e 'sleep int(rand(3600))' && certbot -q renew", ["perl", "certbot"], False),
    # Directories and homes.
    ("cd /srv/app && php artisan schedule:run >> /dev/null 2>&1", ["/srv/app/artisan"], True),
    (f"cd /srv/app && {PHP} artisan queue:work", ["/srv/app/artisan"], True),
    ("cd /srv/app && ./run.sh", ["/srv/app/run.sh"], True),
    ("cd /srv/app; ./run.sh", ["/srv/app/run.sh"], True),
    ("cd app && bash ../x.sh", ["/home/ali/x.sh"], True),
    ("(cd /srv/app && ./run.sh)", ["/srv/app/run.sh"], True),
    ("(cd /srv/app && ./index.js) 2>&1 | logger -t backup", ["/srv/app/index.js", "logger"], False),
    ("(cd /srv/app ; ./install.sh -r)&", ["/srv/app/install.sh"], True),
    ("cd /srv/app && . bin/activate && python m.py", ["/srv/app/bin/activate", "/srv/app/m.py"], False),
    ("cd /srv/app && umask 002 && php artisan x", ["umask", "/srv/app/artisan"], False),
    ("cd /srv/app && git pull && ./run.sh", ["git", "/srv/app/run.sh"], False),
    ("cd \"$HOME/app\" && ./run.sh", ["/home/ali/app/run.sh"], True),
    ("~/bin/a.sh", ["/home/ali/bin/a.sh"], True),
    ("$HOME/bin/a.sh", ["/home/ali/bin/a.sh"], True),
    ("${HOME}/bin/a.sh", ["/home/ali/bin/a.sh"], True),
    ("$OPS/a.sh", ["/srv/ops/a.sh"], True),
    ("./a.sh", ["/home/ali/a.sh"], True),
    # What starts another program.
    ("flock -n /tmp/a.lock /opt/a.sh", ["/opt/a.sh"], True),
    ("flock -n ~/update.lock -c ./doc/update > update.log 2>&1", ["/home/ali/doc/update"], True),
    ("flock -n /tmp/q.lock -c \"cd /srv/app && php artisan queue:work\"", ["/srv/app/artisan"], True),
    ("/usr/bin/flock -w 10 -E 0 /tmp/a.lock /opt/a.sh", ["/opt/a.sh"], True),
    ("flock -xn /tmp/a.lock /opt/a.sh", ["/opt/a.sh"], True),
    ("timeout 120 bash /opt/a.sh status", ["/opt/a.sh"], True),
    ("timeout -k 5s --signal=INT 10m /opt/a.sh", ["/opt/a.sh"], True),
    ("nice -n 19 ionice -c2 -n7 /opt/a.sh", ["/opt/a.sh"], True),
    ("nice -19 /opt/a.sh", ["/opt/a.sh"], True),
    ("ionice -c 3 nice /opt/a.sh", ["/opt/a.sh"], True),
    ("/usr/bin/env bash /opt/a.sh", ["/opt/a.sh"], True),
    ("/usr/bin/env PATH=/sbin:/bin /usr/local/bin/sneck -u", ["/usr/local/bin/sneck"], True),
    ("env -i HOME=/x /opt/a.sh", ["/opt/a.sh"], True),
    ("FOO=1 BAR='a b' /opt/a.sh", ["/opt/a.sh"], True),
    ("sudo -u www-data /opt/a.sh", ["/opt/a.sh"], True),
    ("sudo -n -H -u postgres -- /opt/a.sh", ["/opt/a.sh"], True),
    ("su - ali -c '/opt/a.sh'", ["/opt/a.sh"], True),
    ("chronic /opt/a.sh", ["/opt/a.sh"], True),
    ("nohup /opt/a.sh &", ["/opt/a.sh"], True),
    ("setsid -f /opt/a.sh", ["/opt/a.sh"], True),
    ("exec /opt/a.sh", ["/opt/a.sh"], True),
    ("/opt/a.sh 2>&1 | /usr/bin/logger -t a", ["/opt/a.sh", "/usr/bin/logger"], False),
    ("systemd-cat -t a /opt/a.sh", ["/opt/a.sh"], True),
    ("flock -n /run/c.lock timeout 290s /opt/a.sh >> /opt/c.log 2>&1", ["/opt/a.sh"], True),
    ("flock -n /tmp/s.lock docker exec -i web php artisan schedule:run", ["docker"], True),
    ("flock -xn /etc/s.lock -c \"python /opt/s.py sync > /opt/s.log\"", ["/opt/s.py"], True),
    ("chronic nice ionice -c 3 notmuch new", ["notmuch"], True),
    ("chronic -ve /opt/a.sh", ["/opt/a.sh"], True),
    ("cd ~/podcasts && chronic /opt/a.sh", ["/opt/a.sh"], True),
    ("runuser -l ali -c '/opt/a.sh -q'", ["/opt/a.sh"], True),
    ("runuser -u ali -- /opt/a.sh", ["/opt/a.sh"], True),
    ("sg video -c '/opt/a.sh'", ["/opt/a.sh"], True),
    ("doas -u www /opt/a.sh", ["/opt/a.sh"], True),
    ("nohup bash -c \"exec -a worker '/opt/a.sh' -s\" </dev/null >/dev/null 2>&1 &", ["/opt/a.sh"], True),
    ("/usr/bin/time -o /tmp/t -f %e /opt/a.sh", ["/opt/a.sh"], True),
    ("setlock -n /tmp/a.lock /opt/a.sh", ["/opt/a.sh"], True),
    ("chpst -u nobody -l /tmp/a.lock /opt/a.sh", ["/opt/a.sh"], True),
    ("taskset -c 1 nice /opt/a.sh", ["/opt/a.sh"], True),
    ("chrt -i 0 /opt/a.sh", ["/opt/a.sh"], True),
    ("systemd-run --quiet --scope -p MemoryMax=1G /opt/a.sh", ["/opt/a.sh"], True),
    ("DISPLAY=:0 xvfb-run -a -s '-screen 0 1x1x8' /opt/a.sh", ["/opt/a.sh"], True),
    ("dbus-run-session -- /opt/a.sh", ["/opt/a.sh"], True),
    ("proxychains4 -q -f /etc/p.conf /opt/a.sh", ["/opt/a.sh"], True),
    ("eval '/opt/a.sh -x'", ["/opt/a.sh"], True),
    ("eval \"/opt/a.sh; /opt/b.sh\"", ["/opt/a.sh", "/opt/b.sh"], False),
    ("mount /home/ali/mail 2>/dev/null || true", ["mount"], True),
    # More than one, conditions, waiting.
    ("/opt/a.sh && /opt/b.sh || /opt/c.sh", ["/opt/a.sh", "/opt/b.sh", "/opt/c.sh"], False),
    ("[ -x /opt/a.sh ] && /opt/a.sh >/dev/null", ["[", "/opt/a.sh"], False),
    ("test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )",
     ["test", "run-parts"], False),
    ("test -x /usr/bin/certbot -a \\! -d /run/systemd/system && certbot -q renew",
     ["test", "certbot"], False),
    ("command -v x >/dev/null && /opt/a.sh", ["x", "/opt/a.sh"], False),
    ("sleep 30 && cd /srv/app && pnpm prewarm", ["sleep", "pnpm"], False),
    ("sleep $((RANDOM % 3600)); yum -y update", ["sleep", "yum"], False),
    (". /etc/profile; /opt/a.sh", ["/etc/profile", "/opt/a.sh"], False),
    (". /root/.env && curl -sS https://example.com", ["/root/.env", "curl"], False),
    ("if [ -f /x ]; then /opt/a.sh; fi", ["[", "/opt/a.sh"], False),
    ("for f in /x/*; do /opt/a.sh $f; done", ["/opt/a.sh"], False),
    ("curl -fsS https://example.com/$(hostname) >/dev/null", ["hostname", "curl"], False),
    ("/opt/a.sh `date +x`", ["date", "/opt/a.sh"], False),
    ("tar czf /backup/x-$(date +%F).tgz /srv/ops/a.sh", ["date", "tar"], False),
    ("sleep 60 && /opt/a.sh start >> /var/log/a.log 2>&1", ["sleep", "/opt/a.sh"], False),
    ("/usr/sbin/chkrootkit && /usr/bin/updatedb", ["/usr/sbin/chkrootkit", "/usr/bin/updatedb"], False),
    ("docker exec db pg_dump -U x x | gzip > /b/$(date +%F).gz && find /b -mtime +7 -delete",
     ["docker", "gzip", "find"], False),
    ("crontab -l | sed '/a.sh/d' | crontab -", ["crontab", "sed"], False),
    ("pgrep -f a.sh || /opt/a.sh", ["pgrep", "/opt/a.sh"], False),
    ("while ! /opt/a.sh; do sleep 5; done", ["/opt/a.sh"], False),
    ("/opt/a.sh & wait", ["/opt/a.sh"], False),
    ("{ /opt/a.sh; /opt/b.sh; } > /var/log/x", ["/opt/a.sh", "/opt/b.sh"], False),
    ("/opt/a.sh <<< text", ["/opt/a.sh"], False),
    ("/opt/a.sh || true", ["/opt/a.sh"], True),
    ("/opt/a.sh; exit 0", ["/opt/a.sh"], True),
    ("echo done", ["echo"], True),
]  # fmt: skip


@pytest.mark.parametrize(("line", "programs", "is_one"), SHAPES)
def test_a_line_is_read_as_the_commands_that_it_runs(
    line: str, programs: list[str], is_one: bool
) -> None:
    variables = {"HOME": "/home/ali", "OPS": "/srv/ops"}

    reading = command_lines.read(line, variables, "/home/ali")

    ran = sorted(words[0] for words in reading.commands)
    if is_one:
        assert ran == sorted(programs)
        assert reading.only
    else:
        # What is understood of a line that does more is there; it is never taken for one command.
        assert set(programs) <= {*ran, *reading.words}
        assert not reading.only
