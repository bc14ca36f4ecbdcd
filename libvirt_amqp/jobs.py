"""libvirt's jobs: which functions run one while their caller waits, and which only start one."""

import re

BLOCK_JOB = re.compile(r"virDomainBlock(Copy|Commit|Pull|Rebase|JobAbort)")
"""Their job is that of the disk in their argument `disk` (virDomainGetBlockJobInfo)."""

STARTS_A_JOB = re.compile(r"virDomainBlock(Copy|Commit|Pull|Rebase)|virDomainBackupBegin")
"""They return as soon as the job runs."""

WAITING, RUNNING, READY, ENDED = "waiting", "running", "ready", "ended"
"""The states in a `progress` notification: no worker yet; under way; in step, to be pivoted or aborted; over."""
