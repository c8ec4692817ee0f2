"""Verdicts that are kept as they come, so that a run that was ended goes on where it was."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, as_completed
from pathlib import Path
from typing import Any

Verdict = dict[str, Any]


def judged(
    pool: Executor, judge: Callable[[Any], Verdict], tasks: Iterable[Any], file: Path
) -> list[Verdict]:
    """Judge what the file does not have yet; return what it has then, in the order of tasks.

    A task is known again by its `repr`, so it must say all that decides its verdict.
    """
    wanted = list(tasks)
    known = read(file)
    running = {pool.submit(judge, task): repr(task) for task in wanted if repr(task) not in known}
    with file.open("a") as kept:
        for done in as_completed(running):
            known[running[done]] = done.result()
            kept.write(json.dumps([running[done], done.result()]) + "\n")
            kept.flush()
    return chosen(known, wanted)


def read(file: Path) -> dict[str, Verdict]:
    """Read the verdicts that there are."""
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(json.loads(line) for line in lines)


def chosen(known: dict[str, Verdict], wanted: Sequence[object]) -> list[Verdict]:
    """Return the verdicts on some tasks that there are."""
    return [known[repr(task)] for task in wanted if repr(task) in known]
