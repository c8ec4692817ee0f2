"""A poster of events whose receivers take, refuse, lose and end the courier, as a list says."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from serving.events.posting import Parcel
from serving.events.receivers import Receiver
from serving.events.retrying import Answer


class Fate(Enum):
    """What becomes of one request."""

    TAKEN = "taken"
    REFUSED = "refused"
    LOST_ANSWER = "the receiver has it, and the answer is lost"
    KILLED_BEFORE = "the courier dies before it sends"
    KILLED_AFTER = "the courier dies when the receiver has it"


@dataclass
class FatefulPoster:
    """Lets each request have the next fate; then all are taken."""

    fates: Iterable[Fate] = ()
    came: list[tuple[str, str, str]] = field(default_factory=list)
    """(receiver, subject, id) of all that receivers got, repetitions too."""
    kill: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        """Begin with the first."""
        self._next = iter(self.fates)

    async def post(self, receiver: Receiver, parcel: Parcel) -> Answer:
        """Send a parcel once."""
        fate = next(self._next, Fate.TAKEN)
        if fate is Fate.REFUSED:
            return Answer(status=500, told="no")
        if fate is Fate.KILLED_BEFORE:
            await self._die()
        event = json.loads(parcel.body)
        self.came.append((receiver.name, event["subject"], parcel.uid))
        if fate is Fate.KILLED_AFTER:
            await self._die()
        if fate is Fate.LOST_ANSWER:
            return Answer(told="no answer")
        return Answer(status=204, told="yes")

    async def _die(self) -> None:
        self.kill()
        await asyncio.get_running_loop().create_future()
