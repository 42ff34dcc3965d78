"""Running programs that a model wrote, apart from what grades them and from everything else.

A job is two processes, each alone in a sandbox: the candidate's runs its code and answers calls,
the grader's holds the checks and judges the answers, which travel by value. Nothing that the
candidate prints, raises, overrides or exits with is a verdict; forging an answer is no more than
returning that value.

Not covered: a candidate that knows a check (the prompt shows some) can answer it from a table;
faults of the kernel, of bubblewrap and of the interpreter's parser are not defended against; a
check that calls the candidate's own helper, or a name that the prelude imported, trusts what comes
back; arguments go by value, so a change that a candidate makes to one is not seen by the check.
"""

from stages.tasks.sandbox.job import Job, Limits, NoSandbox, Report, SandboxBroken, Status
from stages.tasks.sandbox.sandbox import Sandbox, open_sandbox

__all__ = [
    "Job",
    "Limits",
    "NoSandbox",
    "Report",
    "Sandbox",
    "SandboxBroken",
    "Status",
    "open_sandbox",
]
