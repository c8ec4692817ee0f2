"""What a node's workers have counted of its versions, with the lives of workers that have ended.

Prometheus takes a counter that falls for one that began anew at 0, and adds all of what it then
says. A sum over workers falls when one of them is restarted, silent or replaced, by what that one
had counted: so what was last heard of a life stays in the sum. What a worker counts after it was
last asked and before it dies is lost: totals are never too large. They begin at 0 with a version
that is new here, and, unless the node's last edge left its own, with the edge.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from serving.ids import VersionKey
from serving.monitor.quality.report import WindowCounts
from serving.monitor.statistics import VersionStatistics, merge_by_gpu

MAX_AWAY: Final = 64
"""Lives of a version in workers that are not asked any more, and might come back."""


@dataclass(frozen=True, slots=True, order=True)
class _Life:
    """One version in one worker, from loading to unloading."""

    worker: str
    model: str
    version: int
    gpu_uuid: str
    began_ns: int


class _Kept(msgspec.Struct, frozen=True):
    """As it lies in a file."""

    instance: str
    lives: tuple[tuple[str, VersionStatistics], ...]
    ended: tuple[VersionStatistics, ...]


class Totals:
    """Sums over workers that fall only to 0. Belongs to one event loop."""

    def __init__(self) -> None:
        """Know nothing."""
        self._lives: dict[_Life, VersionStatistics] = {}
        self._ended: list[VersionStatistics] = []

    def take(
        self, answers: Mapping[str, Sequence[VersionStatistics]], known: Collection[VersionKey]
    ) -> tuple[VersionStatistics, ...]:
        """Take in what workers say, and return the sums, one per version and GPU.

        Args:
            answers: By worker; one that did not answer is left out.
            known: The versions that there are; all others are forgotten.
        """
        now: set[_Life] = set()
        for worker, counted in answers.items():
            for item in counted:
                life = _life(worker, item)
                before = self._lives.get(life)
                now.add(life)
                if before is None or before.age_s <= item.age_s:  # answers may overtake each other
                    self._lives[life] = item
        self._settle(answers.keys(), now, set(known))
        past = (item if life in now else _past(item) for life, item in self._lives.items())
        return merge_by_gpu([*self._ended, *past])

    def encode(self, instance: str) -> bytes:
        """Write all that is known, for the next edge of an instance."""
        lives = tuple((life.worker, item) for life, item in self._lives.items())
        return msgspec.json.encode(_Kept(instance, lives, tuple(self._ended)))

    def recall(self, text: bytes, instance: str) -> bool:
        """Go on from what another edge of the instance knew; say whether that could be read."""
        try:
            kept = msgspec.json.decode(text, type=_Kept)
        except (msgspec.MsgspecError, UnicodeError):
            return False
        if kept.instance != instance:
            return False
        self._lives = {_life(worker, item): item for worker, item in kept.lives}
        self._ended = list(kept.ended)
        return True

    def _settle(
        self, answered: Collection[str], now: set[_Life], known: Collection[VersionKey]
    ) -> None:
        """Add up the lives that have ended, and forget versions that are gone."""
        ended = [life for life in self._lives if life.worker in answered and life not in now]
        away = [life for life in self._lives if life.worker not in answered]
        ended.extend(away[: max(0, len(away) - MAX_AWAY * max(len(known), 1))])
        parts = [*self._ended, *(_past(self._lives.pop(life)) for life in ended)]
        self._ended = [item for item in merge_by_gpu(parts) if item.key in known]
        for life in [one for one in self._lives if VersionKey(one.model, one.version) not in known]:
            del self._lives[life]


def _life(worker: str, item: VersionStatistics) -> _Life:
    return _Life(worker, item.model, item.version, item.gpu_uuid, item.began_ns)


def _past(item: VersionStatistics) -> VersionStatistics:
    """Leave out what only holds now."""
    quality = item.quality
    if quality is not None:
        quality = replace(quality, window=WindowCounts(), event_lag_s=None)
    return replace(item, pending_count=0, quality=quality)
