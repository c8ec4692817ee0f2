"""Tries one scheduling after the other within a budget; compares the best with the present one."""

import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from serving.cli.predict_http import model_path
from serving.cli.tune.inputs import Questions, questions_of
from serving.cli.tune.instance import Private, TrialError, private_instance
from serving.cli.tune.measuring import measured
from serving.cli.tune.records import Comparison, Trial, Tuning, best_of
from serving.cli.tune.space import Space, next_wave
from serving.cli.tune.subject import Subject
from serving.cli.tune.words import scheduling_text
from serving.registry.model_config.scheduling import Scheduling

ROUNDS: Final = 3
"""Of the comparison at the end. By chance alone, all of one are above all of the other once in 20
times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done."""

    subject: Subject
    space: Space
    slo_s: float
    budget_s: float
    """Of the search, without the comparison at the end."""
    stage_s: float
    given: tuple[Path, ...]
    rows: int | None
    profiles: Path
    """Where the operator's hardware profiles lie."""
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Tuner:
    """Carries an order out."""

    order: Order
    say: Callable[[str], None]
    began_s: float = field(default_factory=time.monotonic)
    _questions: Questions | None = None

    async def run(self) -> Tuning:
        """Return what was found.

        Raises:
            BasculeError: The present scheduling cannot be run, or the inputs do not suit.
        """
        order = self.order
        tried: dict[Scheduling, Trial] = {}
        skipped: list[Scheduling] = []
        while wave := next_wave(order.space, tried, order.slo_s):
            for at, one in enumerate(wave):
                passed_s = self._passed_s()
                if tried and passed_s + passed_s / len(tried) > order.budget_s:
                    skipped += wave[at:]
                    break
                tried[one] = await self._trial(one, len(tried))
            if skipped:
                break
        trials = tuple(tried.values())
        best = best_of([one for one in trials if one.rate(order.slo_s)], order.slo_s)
        comparison, notes = None, order.notes
        if best is not None and best.scheduling != order.space.present:
            try:
                comparison = await self._compare(best.scheduling)
            except TrialError as error:  # what was found is worth telling all the same
                notes = (*notes, f"the best could not run beside the present one: {error.message}")
        return Tuning(
            model=order.subject.model,
            version=order.subject.version,
            slo_p99_s=order.slo_s,
            cpus=order.space.cpus,
            inputs=self._questions.text if self._questions else "",
            budget_s=order.budget_s,
            took_s=self._passed_s(),
            present=order.space.present,
            trials=trials,
            skipped=tuple(skipped),
            best=best.scheduling if best else None,
            comparison=comparison,
            notes=notes,
        )

    def _passed_s(self) -> float:
        return time.monotonic() - self.began_s

    async def _trial(self, wanted: Scheduling, number: int) -> Trial:
        self.say(f"trial {number + 1}: {scheduling_text(wanted)}")
        try:
            async with self._served(wanted) as instance:
                trial = await self._measured(wanted, instance)
        except TrialError as error:
            if number == 0:  # the present one: nothing can be compared with it
                raise
            return Trial(scheduling=wanted, failure=error.message)
        return trial

    async def _measured(self, wanted: Scheduling, instance: Private) -> Trial:
        order = self.order
        if self._questions is None:
            self._questions = questions_of(order.subject, instance.http, order.given, order.rows)
        path = f"{model_path(order.subject.model, None)}/infer"
        bodies = self._questions.bodies
        stages = await measured(instance, path, bodies, order.slo_s, order.stage_s)
        return Trial(scheduling=wanted, stages=stages, memory_bytes=instance.memory_bytes())

    async def _compare(self, best: Scheduling) -> Comparison:
        present = self.order.space.present
        rates: dict[Scheduling, list[float]] = {best: [], present: []}
        async with AsyncExitStack() as stack:
            self.say("starting the best and the present scheduling side by side")
            both = {
                one: await stack.enter_async_context(self._served(one)) for one in (best, present)
            }
            for turn in range(ROUNDS):
                for one, instance in both.items():
                    self.say(f"round {turn + 1} of {ROUNDS}: {scheduling_text(one)}")
                    trial = await self._measured(one, instance)
                    rates[one].append(trial.rate(self.order.slo_s))
        return Comparison(best_rates=tuple(rates[best]), present_rates=tuple(rates[present]))

    @asynccontextmanager
    async def _served(self, wanted: Scheduling) -> AsyncIterator[Private]:
        with tempfile.TemporaryDirectory(prefix="bascule-tune-") as folder:
            place = Path(folder)
            arguments = self.order.subject.put(wanted, place)
            async with private_instance(arguments, place / "home", self.order.profiles) as found:
                yield found
