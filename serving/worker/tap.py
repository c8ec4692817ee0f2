"""Who looks at answered calls, decided when a version is loaded.

An observer is called on the loop once for each batch, after the replies were handed to their
connections. It sees each call as it was decoded and the arrays that answered it, so it can look at
values without decoding anything again::

    batch[i].call.shapes, .tensors   what the i-th call asked (as arrays: `stacking.single`)
    outputs[i]                       what it got: one array for each output of the model

It must not raise, wait, change an array, or do more than pick and append: work belongs into a
thread of its own, behind a bounded queue. A version without observers pays one test a batch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from runtimes.contract import Array
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.registry.version import ServedVersion, VersionSpec
from serving.worker.executor import Ran
from serving.worker.queued import QueuedCall

MIN_SHARE: Final = 1e-6
_GOLDEN: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1


class Observer(Protocol):
    """Looks at the answered calls of one version."""

    def take(self, ran: Ran, end_ns: int) -> None:
        """Look at a batch that was answered.

        Args:
            ran: Its calls in the order of their rows, with what each got; it has no error. Calls
                whose client has left are among them, and copies of other versions' calls
                (`is_copy`). A call may stand there for another one (`asked`).
            end_ns: When the replies were handed over, on the monotonic clock of the batch's times.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TappedVersion:
    """The version that an observer is made for."""

    spec: VersionSpec
    served: ServedVersion
    statistics: StatisticsRecorder


Tap = Callable[[TappedVersion], Observer | None]
"""Makes the observer of a version that was loaded; None: nobody looks at it."""


class EvenSampler:
    """Chooses a share of calls, uniformly and whole: never the first ones, in step with nothing.

    Multiples of the golden ratio, modulo 1, fill every stretch of the unit interval evenly. Those
    that fall into its first `share` are chosen, and how many calls lie between two of them is known
    at once: it is one of three numbers (the three-gap theorem), of which two are Fibonacci's.
    """

    __slots__ = ("_at", "_limit", "_steps")

    def __init__(self, share: float) -> None:
        """Choose this share of calls: from one in a million up to 1."""
        self._at = 0
        self._limit = limit = round(max(share, MIN_SHARE) * (1 << 64))
        forward = next(k for k in _fibonacci() if (k * _GOLDEN) & _MASK < limit)
        back = next(k for k in _fibonacci() if -k * _GOLDEN & _MASK < limit)
        both = forward + back
        self._steps = tuple((k, (k * _GOLDEN) & _MASK) for k in sorted({forward, back, both}))

    def skipped(self) -> int:
        """Return how many calls are passed over before the next chosen one, and choose that."""
        for count, step in self._steps[:-1]:
            at = (self._at + step) & _MASK
            if at < self._limit:
                self._at = at
                return count - 1
        count, step = self._steps[-1]
        self._at = (self._at + step) & _MASK
        return count - 1


class Turns:
    """Says of each call whether it is one of a share; none at all is a share as well."""

    __slots__ = ("_left", "_sampler")

    def __init__(self, share: float) -> None:
        """Choose this share."""
        self._sampler = EvenSampler(share) if share > 0 else None
        self._left = 0 if self._sampler is None else self._sampler.skipped()

    def takes_next(self) -> bool:
        """Say whether the next call is chosen."""
        if self._sampler is None:
            return False
        if self._left:
            self._left -= 1
            return False
        self._left = self._sampler.skipped()
        return True


def _fibonacci() -> Iterator[int]:
    one, two = 1, 2
    while True:
        yield one
        one, two = two, one + two


def answered_alone(call: QueuedCall, outputs: Sequence[Array], at_ns: int) -> Ran:
    """Describe a call that was answered without a batch: by a cache, or by an ensemble's steps.

    Its three instants are one: nothing ran for it by itself.
    """
    return Ran((call,), call.rows, (outputs,), None, at_ns, at_ns, at_ns)
