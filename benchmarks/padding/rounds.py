"""Measures one round of one system: every call once, behind the edge or in the engine alone."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.compare.processes import cpu_s, spent_s
from benchmarks.instance import Instance, until
from benchmarks.load_tools import Measured
from benchmarks.loads import Array, Request
from benchmarks.model_facts import runs_so_far
from benchmarks.padding.answers import Answer, measured
from benchmarks.padding.asking import ask_all, requests_of
from benchmarks.padding.bare import run_bare
from benchmarks.padding.calls import Ids, padded_share
from benchmarks.padding.page import Turn
from benchmarks.report import Sample
from serving.predictions.reading import Filter, PredictionReader
from serving.predictions.record import PredictionHead

WARM_UP_CALLS: Final = 64
LOAD: Final = "{} connections"
WRITTEN_LIMIT_S: Final = 30.0
"""Until the log has what was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """What all rounds have: the calls, and who answers them."""

    instance: Instance
    log: Path
    """The instance's prediction log, which has every call."""
    session: Any
    """The engine alone."""
    calls: Sequence[Ids]
    right: Sequence[Array]
    """The calls' embeddings."""
    connections: int

    def served(self, system: str, model: str, number: int) -> Turn:
        """Ask a served model every call.

        Raises:
            InstanceError: The log has not all of them.
        """
        requests = requests_of(model, self.calls)
        self._ask(requests[:WARM_UP_CALLS])
        ran, spent = runs_so_far(self.instance, model), cpu_s(self.instance.processes())
        since, began_s = datetime.now(UTC), time.perf_counter()
        answers = self._ask(requests)
        took_s, end = time.perf_counter() - began_s, datetime.now(UTC)
        used_s = spent_s(spent, cpu_s(self.instance.processes()))
        batch_rows = runs_so_far(self.instance, model).mean_rows_since(ran)
        answered_count = sum(one.embedding is not None for one in answers)
        heads = self._logged(Filter(model=model, since=since, until=end), answered_count)
        own = [head.inputs[0].shape[1] for head in heads]
        run = [head.batch.padded_length or length for head, length in zip(heads, own, strict=True)]
        return Turn(
            sample=self._sample(system, number, measured(answers, self.right, took_s), used_s),
            batch_rows=batch_rows,
            padded_share=padded_share(own, run),
        )

    def bare(self, system: str, window: int, number: int) -> Turn:
        """Run every call in the engine alone, so many at a time."""
        run_bare(self.session, self.calls[:WARM_UP_CALLS], window)
        ran = run_bare(self.session, self.calls, window)
        answers = [
            Answer(took_s=took_s, embedding=embedding)
            for took_s, embedding in zip(ran.times_s, ran.embeddings, strict=True)
        ]
        found = measured(answers, self.right, ran.took_s)
        return Turn(
            sample=self._sample(system, number, found, {"engine": ran.cpu_s}),
            batch_rows=ran.batch_rows,
            padded_share=ran.padded_share,
        )

    def _ask(self, requests: Sequence[Request]) -> list[Answer]:
        return asyncio.run(ask_all(self.instance.http, requests, self.connections))

    def _logged(self, wanted: Filter, count: int) -> list[PredictionHead]:
        reader = PredictionReader(str(self.log))
        heads: list[PredictionHead] = []

        def has_all() -> bool:
            heads[:] = [record.head for record in reader.oldest(wanted)]
            return len(heads) >= count

        until(has_all, WRITTEN_LIMIT_S, f"{count} predictions of {wanted.model} in the log")
        return heads

    def _sample(
        self, system: str, number: int, found: Measured, used_s: Mapping[str, float]
    ) -> Sample:
        load = LOAD.format(self.connections)
        return Sample(system=system, load=load, round=number, measured=found, cpu_s=used_s)
