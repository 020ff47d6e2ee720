# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the section merge. Written by script/generate."""

from __future__ import annotations


class ModuleDocFragment:
    """What a module may be told of the section merge."""

    DOCUMENTATION = r"""
options:
  policy:
    description: Which pull requests of a project land, in which order, and what the marshal marks or closes.
    type: dict
    default: {}
    suboptions:
      mode:
        description: >-
          C(fast) lands every green one, oldest first; C(strict) one at a time, up to date with main; C(train) tests
          batches on a branch; C(native) hands green ones to GitHub's own merge queue.
        type: str
        choices: [fast, strict, train, native]
        default: fast
      method:
        description: How one lands; a batch of several always lands as a merge commit for each member.
        type: str
        choices: [squash, merge, rebase]
        default: squash
      required_checks:
        description: Checks that must be green, beside those that the branch rules require.
        type: list
        elements: raw
        default: []
      allow_no_checks:
        description: Whether something lands where neither C(required_checks) nor the branch rules name a check.
        type: bool
        default: false
      neutral_passes:
        description: Whether a required check that ended neutral is green.
        type: bool
        default: true
      skipped_passes:
        description: Whether a required check that was skipped is green.
        type: bool
        default: true
      check_report_deadline_minutes:
        description: After how long without a word of a required check a person must look.
        type: float
        default: 60
      check_finish_deadline_minutes:
        description: After how long a required check that still runs needs a person.
        type: float
        default: 360
      check_max_age_days:
        description: After how long a green required check has expired and CI is asked for again; 0 is never.
        type: float
        default: 30
      settle_seconds:
        description: How old the head of a pull request is at least before it lands.
        type: float
        default: 0
      hold_labels:
        description: >-
          Labels that keep a pull request from landing; what a person put on, only a person takes off. What is given is
          added to the standard ones.
        type: list
        elements: str
        default: []
      hold_issue_label:
        description: While an open issue of the repository has this label nothing lands; empty for no such one.
        type: str
        default: merge-hold
      branches:
        description: >-
          Further base branches, such as C(release/1.2), each with a queue, a state and a report of its own under this
          policy: C(NAME@release/1.2).
        type: list
        elements: str
        default: []
      backport_label:
        description: >-
          What labels begin with by which something that lands is also opened as a pull request against one of
          C(branches): C(backport release/1.2); empty for none.
        type: str
        default: backport
      commanders:
        description: >-
          Accounts whose comment C(/land COMMIT) on a pull request is a person's word about that head: what the guarded
          label says, and an approval. It counts on the account's own pull requests too, and where agents use the
          account; C(/land COMMIT LABEL) says what another label says.
        type: list
        elements: str
        default: []
      priority_labels:
        description: Labels that let a pull request go before others, the most urgent first.
        type: list
        elements: str
        default: []
      repair_labels:
        description: Labels by which another person lets a pull request land although main is red.
        type: list
        elements: str
        default: [repair]
      conflict_label:
        description: The label that a pull request has while it conflicts with main; empty for none.
        type: str
        default: conflict
      revert_label:
        description: The label by which another person says that taking back newer work is meant.
        type: str
        default: intentional-revert
      stale_revert_guard:
        description: >-
          Whether a pull request waits that would put back what files of main were before something landed since it left
          main, as an old branch does.
        type: bool
        default: true
      stale_revert_window_days:
        description: How far back the history of main is compared for that at most.
        type: int
        default: 14
      forks_allowed:
        description: Whether pull requests from forks land.
        type: bool
        default: false
      authors_allowed:
        description: The only accounts whose pull requests land; empty for all.
        type: list
        elements: str
        default: []
      authors_denied:
        description: Accounts whose pull requests never land.
        type: list
        elements: str
        default: []
      required_approvals:
        description: How many other persons must approve the head, even where the branch rules ask for fewer.
        type: int
        default: 0
      freezes:
        description: Times in which nothing lands.
        type: list
        elements: dict
        default: []
        suboptions:
          reason:
            description: Why; the pull requests that wait say it.
            type: str
            required: true
          start:
            description: When it begins.
            type: str
            required: true
          end:
            description: When it is over.
            type: str
            required: true
          branches:
            description: Patterns of the base branches for which it holds; empty for all of them.
            type: list
            elements: str
            default: []
      red_main_blocks:
        description: Whether nothing lands while main is red.
        type: bool
        default: true
      pending_main_blocks:
        description: Whether nothing lands while the checks of main still run.
        type: bool
        default: false
      max_merges_per_cycle:
        description: How many land in one cycle.
        type: int
        default: 10
      max_updates_per_cycle:
        description: In mode C(strict), how many are brought up to date and in test at once.
        type: int
        default: 1
      max_marks_per_cycle:
        description: How many are labelled and commented on in one cycle.
        type: int
        default: 20
      examined_per_cycle:
        description: How many candidates are read in full in one cycle.
        type: int
        default: 30
      cycle_budget_seconds:
        description: After how long a run begins nothing more.
        type: float
        default: 540
      waits_for_ci:
        description: >-
          Whether a run of the job looks on until that time while CI tests what could land, so that it lands when its
          last check ends.
        type: bool
        default: true
      mergeability_budget_seconds:
        description: How long a cycle waits until GitHub has found out whether pull requests can be merged.
        type: float
        default: 60
      delete_branch:
        description: Whether the branch of what landed is deleted.
        type: bool
        default: true
      lasting_branches:
        description: >-
          Patterns of branches that stay when they have landed somewhere, with the pull requests on them; a protected
          one does in any case. What is given is added to the standard ones.
        type: list
        elements: str
        default: []
      points_floor:
        description: How many points of GitHub's rate limit are left for others; at that a cycle stops.
        type: int
        default: 500
      duplicates:
        description: How duplicates are treated. Keys that are left out keep their defaults.
        type: dict
        default: {}
        suboptions:
          action:
            description: C(label) marks it, C(close) also closes it after C(grace_hours), if the other one can land.
            type: str
            choices: ["off", label, close]
            default: "off"
          same_issue:
            description: >-
              Whether one that would close the same issue as another counts as a duplicate as well, whatever it changes.
            type: bool
            default: false
          grace_hours:
            description: How long it is marked before it is closed.
            type: float
            default: 24
          label:
            description: The label that marks it; a person who takes it off settles that it is none.
            type: str
            default: duplicate
          max_closes_per_cycle:
            description: How many are closed in one cycle.
            type: int
            default: 2
      train:
        description: The batches of the mode C(train). Keys that are left out keep their defaults.
        type: dict
        default: {}
        suboptions:
          max_members:
            description: Most pull requests of one batch.
            type: int
            default: 30
          slots:
            description: >-
              How many batches are tested at once while the red ones are looked for: as many as CI has slots.
            type: int
            default: 4
          branch_prefix:
            description: What the names of the branches begin with on which batches are tested.
            type: str
            default: train/
          ci_timeout_minutes:
            description: How long the checks of a batch may take before it counts as red.
            type: float
            default: 120
          retry_hours:
            description: >-
              After how long a member that failed is taken again although nobody pushed to it, and after how long is
              asked again whether the branch takes a push.
            type: float
            default: 12
      retest:
        description: When CI is asked for again; C(true) as it stands here. Keys that are left out keep their defaults.
        type: raw
        default: {}
      conflict_lane:
        description: >-
          Who is asked to resolve an agent's conflict; C(true) is a lane of this server, without it nobody is. Keys that
          are left out keep their defaults.
        type: raw
"""
