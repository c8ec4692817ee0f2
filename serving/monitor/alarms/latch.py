"""Which signs are news: told once, again when they get worse or last, over when they stay away."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from serving.ids import VersionKey
from serving.monitor.alarms.sign import Sign
from serving.monitor.drift.latch import RENOTIFY_S

SETTLED_S: Final = 600.0
"""A sign that was not seen for so long is over; what is seen later is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingAlarm:
    """A sign that was told and is not over."""

    model: str
    version: int
    sign: Sign
    since_s: float
    """When it was seen first, in seconds since 1970."""
    last_s: float
    told_s: float


class SignLatch:
    """Remembers what was told of all versions."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._standing: dict[tuple[VersionKey, str, str], StandingAlarm] = {}

    @property
    def standing(self) -> tuple[StandingAlarm, ...]:
        """What is wrong now."""
        found = dict(tuple(self._standing.items()))  # another thread takes in what is wrong
        return tuple(found[place] for place in sorted(found))

    def news(self, key: VersionKey, signs: Iterable[Sign], now_s: float) -> list[Sign]:
        """Take in what is wrong with a version now; return what people are to be told."""
        told: list[Sign] = []
        for sign in signs:
            place = (key, sign.kind, sign.name)
            before = _by_now(self._standing.get(place), now_s)
            is_news = (
                before is None
                or sign.severity > before.sign.severity
                or now_s - before.told_s >= RENOTIFY_S
            )
            if is_news:
                told.append(sign)
            elif before is not None and before.sign.severity > sign.severity:
                # What hovers around a limit would get worse at every second look.
                sign = replace(sign, severity=before.sign.severity)  # noqa: PLW2901
            self._standing[place] = StandingAlarm(
                model=key.model,
                version=key.version,
                sign=sign,
                since_s=now_s if before is None else before.since_s,
                last_s=now_s,
                told_s=now_s if before is None or is_news else before.told_s,
            )
        return told

    def forget_settled(self, now_s: float) -> None:
        """End what has stayed away."""
        # What was seen after now was seen before the clock was set back.
        over = [p for p, one in self._standing.items() if abs(now_s - one.last_s) > SETTLED_S]
        for place in over:
            del self._standing[place]


def _by_now(told: StandingAlarm | None, now_s: float) -> StandingAlarm | None:
    """Take what was seen and told after now, before the clock was set back, for seen and told now.

    Else it would be told again only when the clock has caught up.
    """
    if told is None or told.told_s <= now_s:
        return told
    return replace(told, told_s=now_s, since_s=min(told.since_s, now_s))
