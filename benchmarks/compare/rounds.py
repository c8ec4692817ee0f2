"""The rounds: in each, every system is started afresh, one after the other, and gets every load.

What a system does not start for, or answers wrongly, is a problem that the report tells; the others
go on. A system's samples of a whole round are kept in a file as they come, so a run that was broken
off can go on there, and asks again what had a problem.
"""

import fcntl
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import grpc

from benchmarks.compare.loads import Loads, WrongAnswerError, bare_loop, check_answers, warm_up
from benchmarks.compare.systems import Place, System
from benchmarks.instance import InstanceError
from benchmarks.load_tools import LoadError, Measured
from benchmarks.peers.environments import PeerError
from benchmarks.report import Sample

BARE: Final = "bare engine"
NO_WIRE: Final = "no wire"
FAULTS: Final = (
    InstanceError,
    LoadError,
    PeerError,
    WrongAnswerError,
    OSError,
    ValueError,
    grpc.RpcError,
)
"""What a system may do wrong."""


class SamplesError(Exception):
    """The samples that are kept cannot be read, or are another run's; says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A system that gave no figures, or not all, in a round."""

    system: str
    round: int
    reason: str


@dataclass(slots=True)
class Run:
    """What was measured so far.

    Args:
        kept: The file that holds the samples, a line each.
    """

    kept: Path
    samples: list[Sample] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def measure(self, number: int, systems: Sequence[System], loads: Loads, place: Place) -> None:
        """Do one round; what was kept of it is not measured again."""
        done = {sample.system for sample in self.samples if sample.round == number}
        if BARE not in done:
            measured = bare_loop(place.file, loads.seconds)
            self.keep([Sample(system=BARE, load=NO_WIRE, round=number, measured=measured)])
        for system in systems:
            if system.name not in done:
                print(f"round {number}: {system.name}", flush=True)
                self._measure(number, system, loads, place)

    def keep(self, samples: Sequence[Sample]) -> None:
        """Add what was measured, here and in the file."""
        self.samples += samples
        with self.kept.open("a") as file:
            file.writelines(f"{json.dumps(asdict(sample))}\n" for sample in samples)

    def _measure(self, number: int, system: System, loads: Loads, place: Place) -> None:
        found: list[Sample] = []
        try:
            # What came before a fault stays in the list, and in the report.
            with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as folder:
                found.extend(_samples(number, system, loads, replace(place, folder=Path(folder))))
        except FAULTS as error:
            reason = f"{type(error).__name__}: {error}"
            print(f"{system.name}: {reason}", flush=True)
            self.problems.append(Problem(system=system.name, round=number, reason=reason))
            self.samples += found
        else:
            self.keep(found)


@contextmanager
def own_run(kept: Path, *, is_resumed: bool) -> Iterator[Run]:
    """Give a run whose samples no other run writes, reads or removes until it is over.

    Raises:
        SamplesError: Another run has them, or those of the run to go on with cannot be read.
    """
    with kept.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SamplesError(
                f"{kept}: another run keeps its samples there: wait until it has ended, or name "
                "another folder with --results"
            ) from error
        if not is_resumed:
            held.truncate(0)
        yield Run(kept=kept, samples=kept_samples(kept))


def kept_samples(kept: Path) -> list[Sample]:
    """Read the samples of a run that was broken off.

    Raises:
        SamplesError: A line is none of ours, or is cut.
    """
    lines = kept.read_text(errors="replace").splitlines() if kept.exists() else []
    found = []
    for number, line in enumerate(lines, 1):
        try:
            one = json.loads(line)
            found.append(Sample(**{**one, "measured": Measured(**one["measured"])}))
        except (ValueError, TypeError, KeyError) as error:
            raise SamplesError(
                f"{kept}: line {number} is no sample, or is cut: remove it and the other lines of "
                "its system and round, which are then measured again, or leave --resume out"
            ) from error
    return found


def _samples(number: int, system: System, loads: Loads, place: Place) -> Iterator[Sample]:
    with system.start(place) as at:
        check_answers(at, place)
        if system.warm_up_s:
            warm_up(at, place, system.warm_up_s)
        for load, measured, cpu_s in loads.of(at, place):
            if measured.failures:
                print(f"FAILED REQUESTS: {load}: {measured.failures}", flush=True)
            yield Sample(
                system=system.name, load=load, round=number, measured=measured, cpu_s=cpu_s
            )
