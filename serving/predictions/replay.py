"""Runs a logged prediction again: same model, same batch, same threads; and explains what differs.

=================================  ============================================================
``EXACT``                           every output is the logged one, bit for bit
``WITHIN same environment``         what results depend on is as it was; its tolerances hold
``WITHIN other environment``        it is not, and the tolerances for others hold
``DIFFERENT``                       they do not hold, or the model is not the one that answered
``UNVERIFIABLE``                    something that it takes was not kept, or is not here
=================================  ============================================================

Rows of a batch do not touch each other, but engines may choose other kernels for other numbers of
rows: so the whole batch is run again. Where rows of others are not in the log, rows of the call
itself stand in their places.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runtimes.contract import Array
from runtimes.devices import Device, device
from runtimes.errors import (
    BasculeError,
    EngineError,
    InvalidArgumentError,
    ModelLoadError,
    UnsupportedError,
)
from runtimes.golden import OutputReplay
from runtimes.row_comparison import default_tolerance
from runtimes.tolerance import BITWISE, Tolerance, compare
from serving.predictions.reading import Found
from serving.predictions.rebatching import batch_text, own_outputs
from serving.predictions.record import Prediction, Source, folder_of
from serving.predictions.shelf import Shelf
from serving.registry.bundles.reproduction import THREADS_TRIED, Verdict
from serving.registry.environment import Change, Environment, differences
from serving.registry.formats import format_named
from serving.registry.version import VersionSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionReplay:
    """What a replay of one prediction showed."""

    verdict: Verdict
    prediction_id: str
    model: str = ""
    version: int = 0
    digest: str = ""
    batch: str = ""
    """What ran together, for people."""
    changes: tuple[Change, ...] = ()
    """Environment when it was answered → this one; what can change a result first."""
    outputs: tuple[OutputReplay, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a version's files were found."""

    spec: VersionSpec
    changed: tuple[str, ...] = ()
    """Files that are not what they were."""


Locate = Callable[[VersionSpec], Path | None]
"""Finds the folder of a bundle by its version and digest, in a registry; None: it is gone."""
MayExecute = Callable[[Path], bool]
"""Tells whether the author of a bundle is trusted to run code here, now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionReplayer:
    """How predictions are replayed."""

    shelf: Shelf
    locate: Locate
    may_execute: MayExecute
    threads: int = 0
    """0: as many as when it was answered."""

    def replay(self, found: Found) -> PredictionReplay:
        """Find the model, run the batch again, and judge."""
        return _Replay(self, found).judged()


def missing(prediction_id: str, places: Sequence[str]) -> PredictionReplay:
    """Say that a prediction is not in the log."""
    reason = (
        f"it is not in {' or '.join(places)}: it was never chosen (prediction_log_rate), was lost, "
        "or is older than what is kept"
    )
    return PredictionReplay(
        verdict=Verdict.UNVERIFIABLE, prediction_id=prediction_id, reasons=(reason,)
    )


class _Replay:
    """One replay on its way."""

    def __init__(self, how: PredictionReplayer, found: Found) -> None:
        self._how = how
        self._found = found
        self._prediction: Prediction = found.prediction
        self._source: Source = found.prediction.source
        self._device: Device = device(self._source.served.device)
        self._threads = how.threads or self._source.served.threads
        self._here: Environment | None = None

    def judged(self) -> PredictionReplay:
        """Run and judge."""
        obstacle = next(_obstacles(self._prediction), "")
        if obstacle:
            return self._verdict(Verdict.UNVERIFIABLE, reasons=[obstacle])
        place = self._place()
        if place is None:
            spec = self._source.spec
            return self._verdict(
                Verdict.UNVERIFIABLE,
                reasons=[f"the model is gone: neither {folder_of(spec)} nor the registry has it"],
            )
        self._here = self._how.shelf.environment(place.spec.format, self._threads, self._device)
        try:
            outputs = self._run(place.spec, self._threads)
        except (ModelLoadError, UnsupportedError) as error:
            return self._not_run(place, f"the model cannot be loaded here: {error.message}")
        except (InvalidArgumentError, EngineError) as error:
            reasons = [*place.changed, f"the batch does not run any more: {error.message}"]
            return self._verdict(Verdict.DIFFERENT, reasons=reasons)
        return self._judge(place, outputs)

    def _place(self) -> Place | None:
        """Find the model's files: where they were, or in the registry."""
        spec, shelf = self._source.spec, self._how.shelf
        folder = folder_of(spec)
        changed = shelf.changed(folder, self._source) if Path(spec.file).is_file() else None
        if changed or changed is None:
            elsewhere = self._how.locate(spec) if spec.folder else None
            if elsewhere is not None and not shelf.changed(elsewhere, self._source):
                file = elsewhere / Path(spec.file).relative_to(folder)
                return self._placed(replace(spec, folder=str(elsewhere), file=str(file)))
        return None if changed is None else self._placed(spec, changed)

    def _placed(self, spec: VersionSpec, changed: tuple[str, ...] = ()) -> Place:
        runs_code = format_named(spec.format).runs_code
        allowed = runs_code and not changed and self._how.may_execute(folder_of(spec))
        return Place(spec=replace(spec, may_execute=allowed), changed=changed)

    def _run(self, spec: VersionSpec, threads: int) -> tuple[OutputReplay, ...]:
        """Run the batch and compare the call's rows, in the class of this environment."""
        results = self._how.shelf.run(spec, threads, self._device, self._found)
        return tuple(self._compared(results))

    def _compared(self, results: Sequence[Array]) -> Iterator[OutputReplay]:
        allowed = self._tolerances()
        own = own_outputs(self._prediction, results)
        for spec, now in zip(self._source.served.outputs, own, strict=True):
            logged = self._prediction.tensor(spec.name, is_output=True)
            if logged is None:
                continue
            wanted = allowed.get(spec.name) or self._unsaid(logged)
            yield OutputReplay(
                name=spec.name, tolerance=wanted, comparison=compare(logged, now, wanted)
            )

    def _tolerances(self) -> dict[str, Tolerance]:
        golden = self._source.spec.golden
        if golden is None:
            return {}
        classes = golden.same_environment if self._is_same else golden.other_environment
        return {spec.name: one for spec, one in zip(golden.outputs, classes, strict=True)}

    def _unsaid(self, logged: Array) -> Tolerance:
        """Return what holds for an output about which nobody has said anything."""
        if logged.dtype == object:
            return BITWISE
        return default_tolerance(logged.dtype)

    @property
    def _changes(self) -> tuple[Change, ...]:
        before = self._source.environment
        if before is None or self._here is None:
            return ()
        return differences(before, self._here, self._source.spec.format)

    @property
    def _is_same(self) -> bool:
        return not any(change.matters for change in self._changes)

    def _judge(self, place: Place, outputs: tuple[OutputReplay, ...]) -> PredictionReplay:
        if place.changed:
            told = [f"the model is not the one that answered: {text}" for text in place.changed]
            if all(item.comparison.is_exact for item in outputs):
                told.append("this prediction comes out the same all the same")
            return self._verdict(Verdict.DIFFERENT, outputs=outputs, reasons=told)
        if all(item.comparison.is_exact for item in outputs):
            return self._verdict(Verdict.EXACT, outputs=outputs)
        if all(item.comparison.holds for item in outputs):
            verdict = Verdict.SAME if self._is_same else Verdict.OTHER
        else:
            verdict = Verdict.DIFFERENT
        reasons = [*self._explanations(place)]
        return self._verdict(verdict, outputs=outputs, reasons=reasons)

    def _explanations(self, place: Place) -> Iterator[str]:
        """Try what may explain a difference, and say what remains."""
        recorded = self._source.served.threads
        for threads in sorted({recorded, *THREADS_TRIED} - {self._threads}):
            if self._is_exact(place.spec, threads):
                said = "as when it was answered" if threads == recorded else "another number"
                yield (
                    f"with {threads} threads every output is exact, {said}: the thread count "
                    f"explains it (this run used {self._threads})"
                )
                return
        if not self._found.is_whole:
            yield (
                "of the batch's other calls not all rows are in the log: rows of this call stood "
                "in their places"
            )
        matters = [change for change in self._changes if change.matters]
        if matters:
            yield "the environment is another one: " + "; ".join(map(str, matters))
        else:
            yield (
                "model, batch and environment are as they were: the model does not repeat itself"
            )

    def _is_exact(self, spec: VersionSpec, threads: int) -> bool:
        try:
            outputs = self._run(spec, threads)
        except BasculeError:  # a number of threads that cannot be tried explains nothing
            return False
        return all(item.comparison.is_exact for item in outputs)

    def _not_run(self, place: Place, reason: str) -> PredictionReplay:
        if place.changed:
            return self._verdict(Verdict.DIFFERENT, reasons=[*place.changed, reason])
        return self._verdict(Verdict.UNVERIFIABLE, reasons=[reason])

    def _verdict(
        self,
        verdict: Verdict,
        *,
        outputs: tuple[OutputReplay, ...] = (),
        reasons: Sequence[str] = (),
    ) -> PredictionReplay:
        spec = self._source.spec
        return PredictionReplay(
            verdict=verdict,
            prediction_id=self._prediction.head.id,
            model=spec.model,
            version=spec.version,
            digest=spec.digest,
            batch=batch_text(self._found),
            changes=self._changes,
            outputs=outputs,
            reasons=tuple(reasons),
        )


def _obstacles(prediction: Prediction) -> Iterator[str]:
    """Name what makes a replay impossible from the record alone."""
    head, source = prediction.head, prediction.source
    if source.spec.policy.ensemble:
        yield "an ensemble answered: reproduce the predictions of its steps, which have ids too"
    if source.served.has_sequences:
        yield "a step of a sequence answered: the state that it began with is not kept"
    lacking = [tensor for tensor in head.inputs if tensor.kept != "full"]
    if lacking:
        words = {"hash": "only the sha256 was kept", "redacted": "redacted"}
        said = ", ".join(
            f"{tensor.name} ({words.get(tensor.kept, 'not kept')})" for tensor in lacking
        )
        yield f"the inputs were not logged: {said}"
    if head.outputs and all(tensor.kept != "full" for tensor in head.outputs):
        yield "no output was logged: all are redacted"
