"""Pure: what the edge must reach beside each other system, and whether it did.

A ratio is taken within each round, and the median of these counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.report import Sample

EDGE: Final = "edge"
HTTP: Final = "HTTP, {} connections"
OPEN_LOOP: Final = "HTTP, open loop, {:.0f}/s"
GRPC: Final = "gRPC, {} connections, {} streams each"


@dataclass(frozen=True, slots=True, kw_only=True)
class Required:
    """One line: the edge's figure divided by the peer's."""

    peer: str
    load: str
    bound: float
    """The least ratio of requests/s, or the largest of p50."""
    of_p50: bool = False
    aim: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The ratios of all rounds in which both were measured."""

    required: Required
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float | None:
        """The median; none if there was no such round."""
        return median(self.ratios) if self.ratios else None

    @property
    def is_reached(self) -> bool | None:
        """Whether the bound holds; none if nothing was measured."""
        if self.ratio is None:
            return None
        bound = self.required.bound
        return self.ratio <= bound if self.required.of_p50 else self.ratio >= bound


BUSY: Final = HTTP.format(32)
REQUIRED: Final = (
    Required(peer="Triton", load=BUSY, bound=2.4, aim=3.0),
    Required(peer="Triton", load=HTTP.format(64), bound=2.0, aim=3.0),
    Required(peer="Triton", load=GRPC.format(8, 4), bound=2.1, aim=3.0),
    Required(peer="Triton", load=GRPC.format(8, 8), bound=2.1, aim=3.0),
    Required(peer="Triton", load=HTTP.format(1), bound=0.5, of_p50=True),
    Required(peer="TorchServe", load=BUSY, bound=5.0),
    Required(peer="Ray Serve, HAProxy", load=BUSY, bound=9.0),
    Required(peer="Ray Serve", load=BUSY, bound=120.0),
    Required(peer="MLServer", load=BUSY, bound=18.0),
    Required(peer="LitServe", load=BUSY, bound=20.0),
    Required(peer="BentoML", load=BUSY, bound=40.0),
    Required(peer="HAProxy alone", load=BUSY, bound=0.4, aim=0.55),
)


def judge(samples: Sequence[Sample], required: Sequence[Required] = REQUIRED) -> list[Found]:
    """Hold the samples against what is required; runs with failures do not count."""
    good = [sample for sample in samples if not sample.measured.failures]
    return [Found(required=one, ratios=_ratios(good, one)) for one in required]


def _ratios(samples: Sequence[Sample], required: Required) -> tuple[float, ...]:
    edge = _by_round(samples, EDGE, required)
    peer = _by_round(samples, required.peer, required)
    return tuple(edge[number] / peer[number] for number in edge if peer.get(number))


def _by_round(samples: Sequence[Sample], system: str, required: Required) -> dict[int, float]:
    return {
        one.round: one.measured.p50_s if required.of_p50 else one.measured.requests_per_s
        for one in samples
        if (one.system, one.load) == (system, required.load)
    }
