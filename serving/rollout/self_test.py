"""Tries every alarm of an instance, up to who is told. Nothing of it touches what is real.

Rules are tried in a thread, on copies that are made for it: no counter, metric, log or alarm of
real traffic sees the made-up data. Receivers get one signed event for each kind of alarm that rang,
of the type `dev.bascule.monitor.selftest.v1`, which says that it was made up.
"""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from serving.clock import Clock
from serving.errors import NotFoundError
from serving.events.cloud_event import encoded
from serving.events.posting import HttpPoster, Parcel
from serving.events.receivers import Receiver, Receivers
from serving.monitor.selftest.trial import Outcome, ReceiverTrial, SelfTest, Trial, VersionTrials
from serving.monitor.selftest.version_trials import Tried, version_trials
from serving.registry.announcing.outbox import TYPE, OutboxEvent

KIND: Final = "monitor.selftest"


class SelfTester:
    """Belongs to the controller's loop."""

    def __init__(self, read: Callable[[], Receivers], clock: Clock) -> None:
        """Remember the parts.

        Args:
            read: Says who is told of alarms; blocking.
            clock: Dates events.
        """
        self._read = read
        self._poster = HttpPoster(clock)
        self._clock = clock
        self._alone = asyncio.Lock()

    async def run(self, versions: Sequence[Tried]) -> SelfTest:
        """Try the alarms of some versions.

        Raises:
            NotFoundError: There are none.
            InvalidArgumentError: The file of receivers cannot be read.
        """
        if not versions:
            raise NotFoundError("no version is served whose alarms could be tried")
        async with self._alone:
            found = await asyncio.to_thread(_tried, versions)
            receivers = await asyncio.to_thread(self._read)
            told = await self._told(found, receivers)
        return SelfTest(versions=found, receivers=told)

    async def _told(
        self, found: Iterable[VersionTrials], receivers: Receivers
    ) -> tuple[ReceiverTrial, ...]:
        """Let receivers have one alarm of each kind that rang."""
        rung = _first_of_each_kind(found)
        if rung and not receivers.receivers:
            why = "events.yaml names no receiver: alarms are in metrics and logs alone"
            return (ReceiverTrial(kind="", receiver="", outcome=Outcome.SKIPPED, told=why),)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._tell(receivers, kind, subject, trial))
                for kind, (subject, trial) in rung.items()
            ]
        return tuple(one for task in tasks for one in task.result())

    async def _tell(
        self, receivers: Receivers, kind: str, subject: str, trial: Trial
    ) -> list[ReceiverTrial]:
        wanting = [one for one in receivers.receivers if one.wants(TYPE.format(kind=kind), subject)]
        if not wanting:
            why = f"no receiver of events.yaml wants {TYPE.format(kind=kind)}: nobody is told"
            return [ReceiverTrial(kind=kind, receiver="", outcome=Outcome.SILENT, told=why)]
        event = OutboxEvent(
            id=0,
            uid=str(uuid.uuid4()),
            type=TYPE.format(kind=KIND),
            subject=subject,
            at_utc=self._clock.utc_now(),
            data=json.dumps({"synthetic": True, "kind": kind, **trial.data}),
        )
        parcel = Parcel(uid=event.uid, body=encoded(event, receivers.source))
        return [await self._post(one, kind, parcel) for one in wanting]

    async def _post(self, receiver: Receiver, kind: str, parcel: Parcel) -> ReceiverTrial:
        answer = await self._poster.post(receiver, parcel)
        outcome = Outcome.RANG if answer.is_taken else Outcome.SILENT
        return ReceiverTrial(kind=kind, receiver=receiver.name, outcome=outcome, told=answer.told)


def _tried(versions: Sequence[Tried]) -> tuple[VersionTrials, ...]:
    return tuple(
        VersionTrials(
            model=one.spec.model, version=one.spec.version, trials=tuple(version_trials(one))
        )
        for one in versions
    )


def _first_of_each_kind(found: Iterable[VersionTrials]) -> Mapping[str, tuple[str, Trial]]:
    rung: dict[str, tuple[str, Trial]] = {}
    for version in found:
        subject = f"{version.model}/{version.version}"
        for trial in version.trials:
            if trial.outcome is Outcome.RANG and trial.data:
                rung.setdefault(trial.kind, (subject, trial))
    return rung
