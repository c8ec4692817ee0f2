"""What is wrong with a model's inputs now, as far as it makes scores mean something else."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runtimes.errors import BasculeError
from serving.edge.desk import Desk

KINDS: Final = frozenset({"missing", "unseen", "constant"})
"""Kinds of drift after which a score is about something that the model has not seen."""
ASK_CONTROLLER_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataAlarms:
    """Alarms by version."""

    found: Mapping[int, Sequence[str]]
    unasked: str = ""
    """Who did not answer; empty: all did."""


async def data_alarms(desk: Desk, model: str) -> DataAlarms:
    """Ask for what data contracts and drift monitors ring for; who is away is told."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    unasked: list[str] = []
    try:
        for item in await desk.statistics(model, None):
            alarms = () if item.quality is None else item.quality.alarms()
            found[item.version] += [f"contract {alarm.rule}" for alarm in alarms]
    except BasculeError as error:
        unasked.append(f"data contracts: {error.message}")
    try:
        async with asyncio.timeout(ASK_CONTROLLER_S):
            watched = await desk.control.drift(model)
    except (BasculeError, TimeoutError) as error:
        unasked.append(f"drift: {str(error) or 'no answer in time'}")
    else:
        for one in watched:
            found[one.version] += [
                f"drift {alarm.kind} {alarm.feature}"
                for alarm in one.alarms
                if alarm.is_open and alarm.kind in KINDS
            ]
    return DataAlarms(found=found, unasked="; ".join(unasked))
