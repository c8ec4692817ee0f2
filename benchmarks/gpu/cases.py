"""What is measured: models, engines and devices, and how hard a load of some rows must be. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

ModelName = Literal["mid", "large"]
Engine = Literal["onnx", "torchscript"]
DeviceKind = Literal["cpu", "cuda"]

MODELS: Final[tuple[ModelName, ...]] = ("mid", "large")
ENGINES: Final[tuple[Engine, ...]] = ("onnx", "torchscript")
DEVICES: Final[tuple[DeviceKind, ...]] = ("cpu", "cuda")
MAX_BATCH_ROWS: Final = 64
"""Of one run, in the configuration of every model here."""
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
BATCHES_IN_FLIGHT: Final = 4
"""One runs, one is gathered, and one is on its way in each direction."""
MOST_CONNECTIONS: Final = 128
LEAST_RUNS: Final = 40
"""A load counts whole requests: with so many runs, its end cuts off less than 3 %."""
LONGEST_LOAD_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Case:
    """One model in one engine on one device."""

    model: ModelName
    engine: Engine
    device: DeviceKind

    def __str__(self) -> str:
        """Print as in tables."""
        return f"{self.model}, {self.engine} on {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that one call measures."""

    models: tuple[ModelName, ...] = MODELS
    batches: tuple[int, ...] = BATCHES
    round_count: int = 3
    load_s: float = 3.0


QUICK: Final = Plan(models=("mid",), batches=(1, 8, 64), round_count=1, load_s=1.0)


def cases_of(models: Sequence[ModelName]) -> Iterator[Case]:
    """Yield every model in every engine on every device, those on the CPU first."""
    for device in DEVICES:
        for model in models:
            for engine in ENGINES:
                yield Case(model, engine, device)


def connections_for(batch_rows: int) -> int:
    """Return how many clients that wait for their answers keep full batches coming."""
    wanted = -(-BATCHES_IN_FLIGHT * MAX_BATCH_ROWS // batch_rows)
    return max(BATCHES_IN_FLIGHT, min(MOST_CONNECTIONS, wanted))


def seconds_for(asked_s: float, run_s: float) -> float:
    """Return how long to measure runs that take so long each: as asked, longer for slow ones."""
    return max(asked_s, min(LEAST_RUNS * run_s, LONGEST_LOAD_S))
