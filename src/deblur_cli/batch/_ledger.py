"""What a batch need not do, and what it has done: a plan and the journals of its folders, brought together."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Self

from deblur_cli import storage
from deblur_cli.batch._failures import disk_full, is_full
from deblur_cli.batch._sweep import sweep
from deblur_cli.errors import PhotoError
from deblur_cli.events import Event, Failed, Finished, Left
from deblur_cli.isolated import CrashError
from deblur_cli.jobs import Job, Plan
from deblur_cli.journal import Journal, stamp_of

CLAIMED_AHEAD = 256
"""Targets are claimed so many at a time, since each claim waits for the disk."""

NEW = "new"


@dataclass(frozen=True)
class Todo:
    """What is left of a plan.

    plan: the jobs to do. done: those that need not be done. reasons: why each job is to be done.
    left: those that an earlier run has left, and why.
    """

    plan: Plan
    done: tuple[Job, ...]
    reasons: Mapping[Job, str]
    left: Mapping[Job, str]


class Ledger:
    """The journals of all folders of a batch. Entering it locks them, and sweeps up what a killed run left.

    made_with: what the results depend on besides their inputs; a mapping that JSON can hold. status: of a target.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        made_with: Mapping[str, Any],
        share: str = "",
        status: Callable[[Path], os.stat_result] = Path.stat,
    ) -> None:
        bases = {job.base for job in jobs if job.base is not None}
        by_place = {
            os.path.realpath(base): Journal(base, share, storage.log_of(base, share))
            for base in sorted(bases)
        }
        self._status = status
        self._journals = {base: by_place[os.path.realpath(base)] for base in bases}
        self._made_with = made_with
        self._open = ExitStack()

    def read(self) -> Self:
        """Only look at the journals, without a lock and without a trace."""
        for journal in set(self._journals.values()):
            journal.read()
        return self

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for journal in dict.fromkeys(self._journals.values()):
                stack.enter_context(journal)
                sweep(journal.unfinished())
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def sort_out(
        self, plan: Plan, *, overwrite: bool, retry_failed: bool = False, only_blurred: bool = False
    ) -> Todo:
        """Which jobs of a plan are done, which are to be done and why, and which may not be.

        Without retry_failed, photos that have crashed the program before and have not changed since are not tried again. With
        only_blurred, those that an earlier run has left and that have not changed since are left again.
        """
        verdict: str | PhotoError | None
        jobs, left, done, refused = dict[Job, str](), dict[Job, str](), list[Job](), list(plan.refused)
        for job in plan.jobs:
            verdict = None if retry_failed else self._crash(job)
            verdict = verdict or ("overwritten, as asked" if overwrite else self._verdict(job))
            if isinstance(verdict, PhotoError):
                refused.append((job, verdict))
            elif verdict is None:
                done.append(job)
            elif only_blurred and not overwrite and (why := self._left(job)):
                left[job] = why
            else:
                jobs[job] = verdict
        return Todo(replace(plan, jobs=tuple(jobs), refused=tuple(refused)), tuple(done), jobs, left)

    def claimed(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """The jobs again, each when the journal says that its target is about to be written."""
        waiting = iter(jobs)
        while ahead := list(islice(waiting, CLAIMED_AHEAD)):
            for base, journal in self._journals.items():
                with _disk_full_as_such(journal):
                    journal.claim(job.target for job in ahead if job.base == base and job.target is not None)
            yield from ahead

    def record(self, event: Event) -> None:
        """Write a finished photo, one that was left, or one that has crashed, into its journal."""
        job = event.job
        if isinstance(event, Left) and job.base and job.source and job.target and event.stamp:
            with _disk_full_as_such(self._journals[job.base]):
                self._journals[job.base].add_left(job.source, event.stamp, job.target, event.reason)
        if isinstance(event, Failed) and isinstance(event.error, CrashError) and job.base and job.source:
            with suppress(FileNotFoundError):
                self._journals[job.base].add_crash(job.source, stamp_of(job.source))
        if (
            not isinstance(event, Finished)
            or job.base is None
            or job.source is None
            or job.target is None
            or event.stamp is None
        ):
            return
        journal = self._journals[job.base]
        try:
            with _disk_full_as_such(journal):
                journal.add(job.source, event.stamp, job.target, self._made_with, event.target_size)
        except FileNotFoundError:
            pass  # somebody has taken the result away already: it will be made again

    def _crash(self, job: Job) -> PhotoError | None:
        """What to say of a photo that has crashed the program and has not changed since."""
        if job.base is None or job.source is None:
            return None
        try:
            crashed = self._journals[job.base].crashed(job.source, stamp_of(job.source))
        except OSError:
            return None
        return (
            PhotoError(
                f"{job.name}: has crashed a library before, and is not tried again",
                hint="To try it: --retry-failed",
            )
            if crashed
            else None
        )

    def _left(self, job: Job) -> str | None:
        """Why an earlier run has left a photo that has not changed since."""
        if job.base is None or job.source is None:
            return None
        try:
            return self._journals[job.base].left(job.source, stamp_of(job.source))
        except OSError:
            return None

    def _verdict(self, job: Job) -> str | PhotoError | None:
        """Why a job is to be done; None if it is done; PhotoError if its target is not ours to replace."""
        if job.base is None or job.source is None or job.target is None:
            return NEW
        journal = self._journals[job.base]
        entry = journal.entry(job.target)
        try:
            target_size = self._status(job.target).st_size
        except OSError:
            return "its result is gone" if entry else NEW
        if entry is None:
            if journal.claimed(job.target):
                return "was interrupted"
            return PhotoError(
                f"{job.target}: exists already, and this batch did not make it",
                hint="Choose another -o, or allow it with --overwrite.",
            )
        try:
            stamp = stamp_of(job.source)
        except OSError:
            return NEW  # the loop will say what is wrong with it
        if not journal.is_of(entry, job.source, stamp):
            return "the photo has changed"
        if entry.made_with != self._made_with:
            return "made with other options"
        return None if entry.target_size == target_size else "its result has changed"


@contextmanager
def _disk_full_as_such(journal: Journal) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise disk_full(f"{journal.folder}: the disk is full") from error
        raise
