"""Two worker processes, one of which copies its calls to the other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from serving.monitor.comparison import ComparisonReport, merge_comparisons
from serving.worker.control import SHARE_SCALE, MirrorEntry, MirrorTable
from tests.fakes.worker_process import WorkerProcess, request, running_worker, wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPair:
    """A live worker and a candidate's."""

    live: WorkerProcess
    candidate: WorkerProcess

    def mirror(
        self, model: str, *, share: int = SHARE_SCALE, tolerance: str = "", target: str = ""
    ) -> None:
        """Begin to copy version 1's calls to the candidate's version 2, and nothing else."""
        entry = MirrorEntry(
            model=model,
            version=1,
            candidate=2,
            share=share,
            tolerance=tolerance,
            targets=(target or str(self.candidate.socket_path),),
        )
        for table in (MirrorTable(), MirrorTable(mirrors=(entry,), key="secret")):
            for worker in (self.candidate, self.live):
                set_mirrors(worker, table)

    def report(self, *workers: WorkerProcess) -> ComparisonReport:
        """Return what both say of the one mirror."""
        told = [
            report for worker in workers or (self.live, self.candidate) for report in ask(worker)
        ]
        (report,) = merge_comparisons(told)
        return report

    def settled(self, calls: int) -> ComparisonReport:
        """Return the report when so many calls were copied and each has met its fate."""

        def is_settled() -> bool:
            seen = self.report()
            fates = seen.compared_calls + seen.failed_calls + seen.dropped_calls
            return seen.copied_calls == fates == calls

        wait_until(is_settled, f"{calls} copies")
        return self.report()


@contextmanager
def running_pair(folder: Path, *flags: str) -> Iterator[ShadowPair]:
    """Start both."""
    places = [folder / "a", folder / "b"]
    for place in places:
        place.mkdir()
    with (
        running_worker(places[0], *flags) as live,
        running_worker(places[1], *flags) as candidate,
    ):
        yield ShadowPair(live=live, candidate=candidate)


def set_mirrors(worker: WorkerProcess, table: MirrorTable) -> None:
    """Hand a worker its table."""
    with worker.local() as client:
        reply = client.ask(request("/worker/mirrors", msgspec.json.encode(table)))
    assert reply.status == 200, reply


def ask(worker: WorkerProcess) -> Sequence[ComparisonReport]:
    """Return what a worker has copied and compared."""
    with worker.local() as client:
        reply = client.ask(request("/worker/comparisons", method="GET"))
    return msgspec.json.decode(reply.body, type=list[ComparisonReport])
