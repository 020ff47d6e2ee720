#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All scheduled jobs of a host in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_jobs
short_description: Bring all scheduled jobs of a host to their declared state
version_added: 0.1.0
description:
  - Installs every job as C(factory-job-NAME.service) and C(factory-job-NAME.timer). The prefix C(factory-job-) is
    owned exclusively. Units of that prefix that are not declared are stopped, disabled and removed with their state.
  - systemd judges all schedules and units together in a temporary directory before anything is installed.
  - Compares the running state of the timers with the declared one, not only files, so that a run that was killed at
    any point is completed by the next.
  - An operator's pause (C(factory pause)) is kept and reported.
  - Where PID 1 is not systemd, the same jobs become one owned file C(/etc/cron.d/aina-factory).
options:
  state:
    description: With V(absent) everything of the prefix is removed, with slices, pauses, configuration and cron file.
      Records of runs and failures stay.
    type: str
    choices: [present, absent]
    default: present
  jobs:
    description: The complete list of jobs. C(docs/settings/jobs.md) has every key.
    type: list
    elements: dict
    default: []
  resource_classes:
    description: Weights and caps per resource class (V(light), V(normal), V(heavy)). What is left out keeps its
      default.
    type: dict
    default: {}
  replaces:
    description: Lines of users' crontabs that declared jobs take the place of. A line is removed only when the timer
      of its successor is in its declared state, and when it runs that one command and nothing else. Each crontab is
      kept as it was before each edit in C(/var/backups/aina-factory).
    type: list
    elements: dict
    default: []
    suboptions:
      user:
        description: Owner of the crontab.
        type: str
        required: true
      matches:
        description: Text of the line that names its one command, such as the script's path. A line that does more, or
          only mentions the script, stays and is reported, and so do comments. Only a comment that holds such a line at
          rest goes with it. A whole line, or everything behind its times, always means that line.
        type: str
        required: true
      job:
        description: Name of the successor. When left out, it is the job whose program the line calls.
        type: str
      park:
        description: The script that the line ran. It is moved into C(parked/) beside it once its successor is in place
          and no crontab, script of C(/etc/cron.daily), foreign timer or declared job names it any more.
        type: path
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows what has changed or would change, per file, and the state of the timers.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Install the scheduled jobs
  aina.factory.systemd_jobs:
    jobs:
      - name: report
        description: Nightly report
        schedule: "*-*-* 04:00"
        command: [/usr/local/bin/report, --all]
        user: www-data
        timeout_seconds: 600
      - name: sync
        state: paused
        paused: {reason: provider is down, by: ali, since: "2026-06-30"}
        schedule: 15 */2 * * *
        command: [/usr/local/bin/sync]
"""

RETURN = r"""
backend:
  description: What schedules the jobs on this host, C(systemd) or C(cron).
  returned: always
  type: str
actions:
  description: The C(systemctl) calls that were made, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [daemon-reload, enable factory-job-report.timer, start factory-job-report.timer]
runtime_paused:
  description: Jobs that an operator has paused on the host.
  returned: always
  type: list
  elements: dict
foreign:
  description: Timers and crontab lines of others that seem to run a declared job as well.
  returned: always
  type: list
  elements: dict
replaced_lines:
  description: Crontab lines that were removed.
  returned: always
  type: list
  elements: str
consequences:
  description: What a person must know first, as M(aina.factory.sequence) returns it - crontab lines and
    scripts of others that jobs replace.
  returned: always
  type: list
  elements: dict
waiting:
  description: What cannot be brought about yet, as M(aina.factory.units) returns it - the command that jobs call.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.jobs import step as systemd_jobs


def main() -> None:
    steps.alone(AnsibleModule(systemd_jobs.ARGUMENTS, supports_check_mode=True), systemd_jobs)


if __name__ == "__main__":
    main()
