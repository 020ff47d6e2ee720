"""The GraphQL documents. Points follow from the number of nested connections: see the budget."""

from __future__ import annotations

_CONTEXTS = """
  totalCount
  pageInfo { hasNextPage endCursor }
  nodes {
    __typename
    ... on CheckRun {
      databaseId name status conclusion startedAt completedAt
      checkSuite { app { slug databaseId } workflowRun { databaseId workflow { name } } }
    }
    ... on StatusContext { context state createdAt creator { login __typename } }
  }
"""

# One nested connection only: a page of a hundred then costs one point.
_THIN = """
fragment thin on PullRequest {
  id number title state createdAt isDraft isCrossRepository isInMergeQueue
  viewerCanMergeAsAdmin headRefOid headRefName baseRefName mergeable mergeStateStatus
  reviewDecision additions deletions changedFiles
  author { login __typename }
  labels(first: 20) { totalCount nodes { name } }
  rollup: statusCheckRollup { state }
}
"""

# An alias of its own: GitHub's summary is wrong when the contexts are selected beside it.
_FULL = f"""
fragment full on PullRequest {{
  id number headRefOid
  checked: statusCheckRollup {{
    commit {{ oid committedDate }}
    contexts(first: 100) {{ {_CONTEXTS} }}
  }}
  files(first: 100) {{ totalCount nodes {{ path }} }}
  reviewThreads(first: 100) @include(if: $threads) {{ totalCount nodes {{ isResolved }} }}
  headRepository {{ nameWithOwner }}
  comments(last: 100) @include(if: $commands) {{
    nodes {{ body lastEditedAt isMinimized author {{ login __typename }} }}
  }}
  latestOpinionatedReviews(first: 100) {{
    totalCount
    nodes {{
      state author {{ login __typename }} commit {{ oid }}
      authorCanPushToRepository authorAssociation
    }}
  }}
  timelineItems(last: 100, itemTypes: [LABELED_EVENT, UNLABELED_EVENT]) {{
    nodes {{
      __typename
      ... on LabeledEvent {{ createdAt label {{ name }} actor {{ login __typename }} }}
      ... on UnlabeledEvent {{ createdAt label {{ name }} actor {{ login __typename }} }}
    }}
  }}
  closingIssuesReferences(first: 5) @include(if: $issues) {{
    totalCount nodes {{ number repository {{ nameWithOwner }} }}
  }}
}}
"""

_BRANCH = f"""
fragment branch on Ref {{
  name
  target {{
    oid
    ... on Commit {{ statusCheckRollup {{ contexts(first: 100) {{ {_CONTEXTS} }} }} }}
  }}
  refUpdateRule {{
    requiredStatusCheckContexts requiredApprovingReviewCount requiresConversationResolution
    requiresLinearHistory requiresSignatures
  }}
  rules(first: 30) {{
    totalCount
    nodes {{
      type
      parameters {{
        __typename
        ... on RequiredStatusChecksParameters {{
          strictRequiredStatusChecksPolicy requiredStatusChecks {{ context integrationId }}
        }}
        ... on PullRequestParameters {{
          requiredApprovingReviewCount requiredReviewThreadResolution
        }}
      }}
    }}
  }}
}}
"""

LIST = f"""
query List($owner: String!, $name: String!, $branch: String!, $hold: [String!],
           $base: String, $first: Int!, $after: String, $head: Boolean!) {{
  rateLimit {{ cost remaining resetAt }}
  repository(owner: $owner, name: $name) {{
    isArchived @include(if: $head)
    deleteBranchOnMerge @include(if: $head)
    holds: issues(first: 5, states: OPEN, labels: $hold) @include(if: $head) {{
      nodes {{ number title }}
    }}
    ref(qualifiedName: $branch) @include(if: $head) {{ ...branch }}
    pullRequests(first: $first, after: $after, states: OPEN, baseRefName: $base,
                 orderBy: {{field: CREATED_AT, direction: ASC}}) {{
      totalCount
      pageInfo {{ hasNextPage endCursor }}
      nodes {{ ...thin }}
    }}
  }}
}}
{_THIN}{_BRANCH}
"""

FULL = f"""
query Full($ids: [ID!]!, $threads: Boolean!, $issues: Boolean!, $commands: Boolean!) {{
  rateLimit {{ cost remaining resetAt }}
  nodes(ids: $ids) {{ ... on PullRequest {{ ...full }} }}
}}
{_FULL}
"""

MORE_CONTEXTS = f"""
query MoreContexts($id: ID!, $after: String!) {{
  rateLimit {{ cost remaining resetAt }}
  node(id: $id) {{
    ... on PullRequest {{
      headRefOid
      checked: statusCheckRollup {{ contexts(first: 100, after: $after) {{ {_CONTEXTS} }} }}
    }}
  }}
}}
"""

OUTCOME = """
query PullRequestOutcome($owner: String!, $name: String!, $number: Int!) {
  rateLimit { cost remaining resetAt }
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      state title isCrossRepository headRefOid headRefName baseRefName
      labels(first: 100) { nodes { name } }
      mergeCommit { oid }
      headRef { id target { oid } refUpdateRule { requiredApprovingReviewCount } }
      comments(last: 50) { nodes { body } }
    }
  }
}
"""

DEPENDANTS = """
query Dependants($owner: String!, $name: String!, $base: String!) {
  rateLimit { cost remaining resetAt }
  repository(owner: $owner, name: $name) {
    pullRequests(first: 50, states: OPEN, baseRefName: $base) {
      totalCount nodes { number title }
    }
  }
}
"""

COMMIT = f"""
query Commit($owner: String!, $name: String!, $oid: GitObjectID!, $after: String) {{
  rateLimit {{ cost remaining resetAt }}
  repository(owner: $owner, name: $name) {{
    object(oid: $oid) {{
      ... on Commit {{
        statusCheckRollup {{ contexts(first: 100, after: $after) {{ {_CONTEXTS} }} }}
      }}
    }}
  }}
}}
"""

# No page of anything: however many are asked for, it costs one point.
PULSE = """
query Pulse($owner: String!, $name: String!, $branch: String!, $ids: [ID!]!) {
  rateLimit { cost remaining resetAt }
  repository(owner: $owner, name: $name) {
    ref(qualifiedName: $branch) { target { oid ... on Commit { ...counts } } }
  }
  nodes(ids: $ids) { ... on PullRequest { state headRefOid ...heads } }
}
fragment counts on Commit {
  statusCheckRollup {
    contexts(first: 1) {
      checkRunCountsByState { state count }
      statusContextCountsByState { state count }
    }
  }
}
fragment heads on PullRequest {
  statusCheckRollup {
    contexts(first: 1) {
      checkRunCountsByState { state count }
      statusContextCountsByState { state count }
    }
  }
}
"""

ENQUEUE = """
mutation Enqueue($id: ID!, $head: GitObjectID!) {
  enqueuePullRequest(input: {pullRequestId: $id, expectedHeadOid: $head}) {
    mergeQueueEntry { id }
  }
}
"""


def reread(count: int) -> str:
    """Return the query that reads the branch and ``count`` pull requests by number."""
    numbers = ", ".join(f"$n{index}: Int!" for index in range(count))
    aliases = "\n".join(
        f"    p{index}: pullRequest(number: $n{index}) {{ ...thin ...full }}"
        for index in range(count)
    )
    return f"""
query Reread($owner: String!, $name: String!, $branch: String!, $threads: Boolean!,
             $issues: Boolean!, $commands: Boolean!, {numbers}) {{
  rateLimit {{ cost remaining resetAt }}
  repository(owner: $owner, name: $name) {{
    ref(qualifiedName: $branch) {{ ...branch }}
{aliases}
  }}
}}
{_THIN}{_FULL}{_BRANCH}
"""
