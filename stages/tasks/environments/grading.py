"""Grading episodes of environments: games here, programs in the sandbox, many at a time."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from random import Random

from stages.errors import UserError
from stages.records import Item, Trajectory
from stages.tasks.environments.base import Code, Game, State
from stages.tasks.environments.programs import hard_coded
from stages.tasks.environments.registry import environment
from stages.tasks.grade import Grade, Told
from stages.tasks.sandbox import Job, NoSandbox, Report, Sandbox, open_sandbox


def state_of(item: Item) -> State:
    """Return the state of an item. Raises UserError for an item that is no instance."""
    if item.state is None:
        raise UserError(f"{item.id}: a question, not an instance of an environment")
    return item.state


def retry_state(item: Item) -> State:
    """Return what is played on a retry: the same for every retry of an item, by whomever."""
    return environment(item.task).again(state_of(item), Random(f"again/{item.id}"))


def played(item: Item, tau: Trajectory) -> State:
    """Return the state that a trajectory was played in."""
    again = tau.condition is not None and tau.kept_original is None
    return retry_state(item) if again else state_of(item)


def replies(tau: Trajectory) -> list[str]:
    """Return what the player said, turn by turn; a failed request says nothing."""
    return ["" if turn.reply.failed else turn.reply.text for turn in tau.exchanges]


class Episodes:
    """Grades episodes; the sandbox is opened when the first program is to be run."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._sandbox: Sandbox | None = None
        self._missing = False
        self._reports: dict[Job, Report] = {}

    def grades(self, episodes: Sequence[tuple[Item, Trajectory]]) -> list[Grade]:
        """Return how each episode went.

        Where no sandbox can be had, programs are `not_run`, and stderr says so.

        Raises:
            UserError: an item is no instance of an environment.
        """
        jobs = [self._job(item, tau) for item, tau in episodes]
        self._run([job for job, _ in jobs if job is not None and job.code])
        return [
            self._game(item, tau) if job is None else self._program(item, job, rule)
            for (item, tau), (job, rule) in zip(episodes, jobs, strict=True)
        ]

    def kept(self, item: Item, number: int, before: str, after: str) -> bool:
        """Tell whether two replies to a turn are the same action."""
        return environment(item.task).same(state_of(item), number, before, after)

    def told(self, item: Item, text: str) -> Told:
        """Return whether a feedback names the secret of an instance, as a word of its own."""
        secret = environment(item.task).secret(state_of(item))
        named = secret is not None and _names(text, secret)
        return Told(secret if named else None, named)

    def facts(self) -> dict[str, object]:
        """Return the sandbox's facts, None where no program was run."""
        return {"sandbox": None if self._sandbox is None else self._sandbox.facts()}

    def _job(self, item: Item, tau: Trajectory) -> tuple[Job | None, str | None]:
        env = environment(item.task)
        if isinstance(env, Game):
            return None, None
        state = played(item, tau)
        tests, program = env.tests(state), env.program(state, replies(tau)[-1])
        job = Job(
            code=program.code,
            prelude=tests.prelude,
            setup=tests.setup,
            checks=tests.checks,
            entry=tests.entry,
        )
        return job, program.rule

    def _run(self, jobs: Sequence[Job]) -> None:
        todo = [job for job in dict.fromkeys(jobs) if job not in self._reports]
        if not todo or self._missing:
            return
        if self._sandbox is None:
            try:
                self._sandbox = self._stack.enter_context(open_sandbox())
            except NoSandbox as error:
                print(f"warning: programs are not run: {error}", file=sys.stderr)
                self._missing = True
                return
        self._reports |= dict(zip(todo, self._sandbox.run(todo), strict=True))

    def _game(self, item: Item, tau: Trajectory) -> Grade:
        env = environment(item.task)
        assert isinstance(env, Game)
        state, said = played(item, tau), replies(tau)
        result = env.grade(state, said)
        actions = [env.read(state, number, reply) for number, reply in enumerate(said)]
        read = " | ".join("-" if action is None else action for action in actions)
        solved = env.solved(result.score)
        return Grade(
            outcome="correct" if solved else "incorrect" if result.parsed else "unparsed",
            score=result.score,
            solved=solved,
            strict=read if result.parsed else None,
            tolerant=read if result.parsed else None,
            tolerant_score=result.score,
            cues=sum(action is not None for action in actions),
        )

    def _program(self, item: Item, job: Job, rule: str | None) -> Grade:
        env = environment(item.task)
        assert isinstance(env, Code)
        code = job.code or None
        shown = env.shown(state_of(item))
        rote = hard_coded(job.code, shown) if shown and code is not None else None
        report = self._reports.get(job)
        if code is not None and report is None:
            return Grade("not_run", 0.0, False, code, code, 0.0, 1, rule, rote=rote)
        statuses: tuple[str, ...] = () if report is None else report.statuses
        score = statuses.count("passed") / len(job.checks)
        solved = env.solved(score)
        return Grade(
            outcome="correct" if solved else "unparsed" if code is None else "incorrect",
            score=score,
            solved=solved,
            strict=code,
            tolerant=code,
            tolerant_score=score,
            cues=int(code is not None),
            rule=rule,
            checks=statuses,
            rote=rote,
        )


def _names(text: str, secret: str) -> bool:
    folded, sought = text.casefold(), secret.casefold()
    place = folded.find(sought)
    while place >= 0:
        before, after = folded[:place][-1:], folded[place + len(sought) :][:1]
        if not before.isalnum() and not after.isalnum():
            return True
        place = folded.find(sought, place + 1)
    return False


@contextmanager
def open_episodes() -> Iterator[Episodes]:
    """Yield a grader of episodes; what it opened is closed at the end."""
    with ExitStack() as stack:
        yield Episodes(stack)
