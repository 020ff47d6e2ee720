# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the section workflows. Written by script/generate."""

from __future__ import annotations


class ModuleDocFragment:
    """What a module may be told of the section workflows."""

    DOCUMENTATION = r"""
options:
  policy:
    description: How the workflows of a repository are to be; parts that are empty or 0 are not touched.
    type: dict
    default: {}
    suboptions:
      runs_on:
        description: Where jobs run. Keys that are left out keep their defaults.
        type: dict
        default: {}
        suboptions:
          strategy:
            description: >-
              How a job finds its runner: C(variable) reads a repository variable, so that an operator moves all jobs,
              and back, without touching a workflow; C(labels) writes the labels.
            type: str
            choices: [variable, labels]
            default: variable
          variable:
            description: The repository variable.
            type: str
            default: CI_RUNS_ON
          labels:
            description: >-
              Labels of the runner; with the strategy C(labels) more than C(self-hosted), which matches any runner.
            type: list
            elements: str
            default: [self-hosted]
          hosted_labels:
            description: Labels of GitHub's own runners that are replaced; jobs with others stay.
            type: list
            elements: str
            default: [ubuntu-latest, ubuntu-24.04, ubuntu-22.04]
          keep_hosted:
            description: Jobs that stay on GitHub's own runners.
            type: list
            elements: dict
            default: []
            suboptions:
              workflow:
                description: Pattern of the workflow's file name, such as C(release.yml).
                type: str
                required: true
              job:
                description: Pattern of the jobs' names.
                type: str
                default: "*"
              reason:
                description: Why; the pull request says it.
                type: str
                required: true
          move_anyway:
            description: >-
              Jobs that move though the runner seems to lack what they need, or though people start them who need not be
              trusted.
            type: list
            elements: dict
            default: []
            suboptions:
              workflow:
                description: Pattern of the workflow's file name, such as C(release.yml).
                type: str
                required: true
              job:
                description: Pattern of the jobs' names.
                type: str
                default: "*"
              reason:
                description: Why; the pull request says it.
                type: str
                required: true
          offers:
            description: >-
              What the declared runner has beyond the common CI image: C(engine) where jobs may use containers, C(sudo),
              and commands such as C(python3). A job that needs more stays hosted.
            type: list
            elements: str
            default: []
      triggers:
        description: What starts a workflow. Keys that are left out keep their defaults.
        type: dict
        default: {}
        suboptions:
          push_branches:
            description: >-
              Branches whose pushes start a workflow; the default branch where not given. With an empty list none is
              written.
            type: list
            elements: str
          forbid:
            description: >-
              Events that are reported, since they run foreign code with the repository's rights. What is given is added
              to the standard ones.
            type: list
            elements: str
            default: []
          paths_ignore:
            description: Patterns of paths whose changes alone start nothing; not where a check is required.
            type: list
            elements: str
            default: []
      concurrency:
        description: Which runs wait for each other. Keys that are left out keep their defaults.
        type: dict
        default: {}
        suboptions:
          group:
            description: Runs of one group follow each other. Empty writes none.
            type: str
            default: ${{ github.workflow }}-${{ github.ref }}
          cancel_in_progress:
            description: >-
              An expression that says whether a newer run ends the one before it; everywhere but on the default branch
              where not given. Empty writes none.
            type: str
      timeout_minutes:
        description: How long a job may take. Keys that are left out keep their defaults.
        type: dict
        default: {}
        suboptions:
          default:
            description: Minutes of a job that says nothing; with 0 none are written.
            type: int
            default: 30
          max:
            description: Minutes that no job may exceed.
            type: int
            default: 120
      permissions:
        description: Rights of the token that are written where a workflow says nothing.
        type: dict
        default: {contents: read}
      pin_actions:
        description: Whether actions are called by the commit of their tag.
        type: bool
        default: true
      pins:
        description: Commits by C(owner/name@tag), in place of what GitHub says.
        type: dict
        default: {}
      pin_exceptions:
        description: >-
          Actions that are called by their tag, as they ask for: C(owner/name), a path below it, or a pattern.
        type: list
        elements: str
        default: []
      exceptions:
        description: Workflows and jobs that stay as they are, wholly or in parts.
        type: list
        elements: dict
        default: []
        suboptions:
          workflow:
            description: Pattern of the workflow's file name, such as C(release.yml).
            type: str
            required: true
          job:
            description: Pattern of the jobs' names.
            type: str
            default: "*"
          reason:
            description: Why; the pull request says it.
            type: str
            required: true
          parts:
            description: >-
              Which parts of the policy are not applied; C(triggers), C(concurrency) and C(permissions) of a workflow
              are left alone where C(job) is C(*).
            type: list
            elements: str
            choices: [runs_on, triggers, concurrency, timeout_minutes, permissions, pin_actions]
            default: [runs_on, triggers, concurrency, timeout_minutes, permissions, pin_actions]
      required_checks:
        description: Checks that GitHub waits for before a pull request may land, beyond those that it says it requires.
        type: list
        elements: str
        default: []
      public_allowed_because:
        description: Why anybody's pull request may run on the server; without it a public one is refused.
        type: str
        default: ""
"""
