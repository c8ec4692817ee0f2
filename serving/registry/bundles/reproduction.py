"""Replays a bundle's golden samples here, says how near the results are, and what may explain it.

=================================  ============================================================
``EXACT``                           every output is the golden one, bit for bit
``WITHIN same environment``         the fingerprint is the recorded one, and its tolerances hold
``WITHIN other environment``        it is another one, and the tolerances for others hold
``DIFFERENT``                       they do not hold, or a file is not the one that was packed
``UNVERIFIABLE``                    no golden samples, or the model cannot be run here
=================================  ============================================================
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from runtimes.devices import CPU, Device
from runtimes.errors import (
    EngineError,
    InvalidArgumentError,
    ModelLoadError,
    UnsupportedError,
)
from runtimes.golden import OutputReplay, Sample, compare_samples, run_samples
from runtimes.node_probe import probe
from serving.registry.bundles.bundle import hash_file
from serving.registry.bundles.bundle_model import BundleModel, model_of
from serving.registry.bundles.golden_samples import samples_of, specs_of, tolerances_of
from serving.registry.bundles.manifest import Manifest
from serving.registry.environment import (
    Change,
    Environment,
    differences,
    environment_of,
    fingerprint,
)

THREADS_TRIED: Final = (1, 2, 4)
"""Thread counts that are tried where results differ: one of them may explain it."""


class Verdict(StrEnum):
    """How near a replay came."""

    EXACT = "EXACT"
    SAME = "WITHIN same environment"
    OTHER = "WITHIN other environment"
    DIFFERENT = "DIFFERENT"
    UNVERIFIABLE = "UNVERIFIABLE"

    @property
    def exit_status(self) -> int:
        """0: reproduced; 1: not; 2: nobody can tell."""
        return {Verdict.DIFFERENT: 1, Verdict.UNVERIFIABLE: 2}.get(self, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What a replay showed."""

    verdict: Verdict
    model: str
    version: int
    digest: str
    fingerprint: str
    """Of this environment."""
    recorded_fingerprint: str
    changes: tuple[Change, ...]
    """Recorded environment → this one; what can change a result first."""
    outputs: tuple[OutputReplay, ...] = ()
    reasons: tuple[str, ...] = ()
    """What explains the verdict, the likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayer:
    """How a bundle is replayed."""

    folder: Path
    manifest: Manifest
    threads: int = 0
    """0: as many as the golden outputs were made with."""
    device: Device = CPU
    may_execute: bool = False

    def reproduce(self) -> Reproduction:
        """Verify the files, run the golden samples, and judge.

        Raises:
            InvalidArgumentError: The bundle's configuration or a sample is damaged.
        """
        changed = [*_changed_files(self.folder, self.manifest)]
        if changed:
            return self._verdict(Verdict.DIFFERENT, reasons=changed)
        samples = samples_of(self.folder, self.manifest)
        if not samples:
            return self._verdict(
                Verdict.UNVERIFIABLE,
                reasons=["the bundle has no golden samples: pack it with some"],
            )
        model = model_of(self.folder, self.manifest)
        try:
            seen = self._run(model, samples, self._threads)
        except (ModelLoadError, UnsupportedError) as error:
            reason = f"the model cannot be run here: {error.message}"
            return self._verdict(Verdict.UNVERIFIABLE, reasons=[reason])
        except (InvalidArgumentError, EngineError) as error:
            reason = f"a golden sample does not run: {error.message}"
            return self._verdict(Verdict.DIFFERENT, reasons=[reason])
        return self._judge(model, samples, seen)

    @property
    def _threads(self) -> int:
        return self.threads or self.manifest.packed_on.threads or 1

    @property
    def _here(self) -> Environment:
        return environment_of(
            probe(),
            format_name=self.manifest.format,
            threads=self._threads,
            device=self.device,
        )

    def _run(
        self, model: BundleModel, samples: Sequence[Sample], threads: int
    ) -> tuple[tuple[OutputReplay, ...], ...]:
        """Compare in the classes of the same and of another environment."""
        specs = specs_of(self.manifest).outputs
        loaded = model.load(threads, self.device, may_execute=self.may_execute)
        with closing(loaded) as running:
            found = run_samples(running, samples)
        return tuple(
            compare_samples(
                specs, samples, found, tolerances_of(self.manifest, same_environment=is_same)
            )
            for is_same in (True, False)
        )

    def _judge(
        self,
        model: BundleModel,
        samples: Sequence[Sample],
        seen: tuple[tuple[OutputReplay, ...], ...],
    ) -> Reproduction:
        same, other = seen
        is_same = self._fingerprints()[0] == self._fingerprints()[1]
        if all(item.comparison.is_exact for item in same):
            return self._verdict(Verdict.EXACT, outputs=same)
        if is_same and _holds(same):
            return self._verdict(Verdict.SAME, outputs=same)
        if not is_same and _holds(other):
            return self._verdict(Verdict.OTHER, outputs=other)
        shown = same if is_same else other
        reasons = [*self._explain(model, samples, is_same=is_same)]
        return self._verdict(Verdict.DIFFERENT, outputs=shown, reasons=reasons)

    def _explain(
        self, model: BundleModel, samples: Sequence[Sample], *, is_same: bool
    ) -> Iterator[str]:
        """Try what may explain a difference, and say what remains."""
        recorded = self.manifest.packed_on.threads
        for threads in sorted({recorded or 1, *THREADS_TRIED} - {self._threads}):
            same, _ = self._run(model, samples, threads)
            if all(item.comparison.is_exact for item in same):
                said = "as recorded" if threads == recorded else f"the record says {recorded}"
                yield (
                    f"with {threads} threads every output is exact, {said}: the thread count "
                    f"explains it (this run used {self._threads})"
                )
                return
        matters = [change for change in self._changes() if change.matters]
        if matters:
            yield "the environment is another one: " + "; ".join(map(str, matters))
        if is_same:
            yield (
                "the environment is the recorded one, and no thread count gives the golden "
                "outputs: the model was changed (a weight, the graph, the configuration) after "
                "they were made, or it does not repeat itself"
            )

    def _fingerprints(self) -> tuple[str, str]:
        name = self.manifest.format
        return fingerprint(self._here, name), fingerprint(self.manifest.packed_on, name)

    def _changes(self) -> tuple[Change, ...]:
        return differences(self.manifest.packed_on, self._here, self.manifest.format)

    def _verdict(
        self,
        verdict: Verdict,
        *,
        outputs: tuple[OutputReplay, ...] = (),
        reasons: Sequence[str] = (),
    ) -> Reproduction:
        here, recorded = self._fingerprints()
        return Reproduction(
            verdict=verdict,
            model=self.manifest.name,
            version=self.manifest.version,
            digest=self.manifest.digest(),
            fingerprint=here,
            recorded_fingerprint=recorded,
            changes=self._changes(),
            outputs=outputs,
            reasons=tuple(reasons),
        )


def _holds(outputs: Sequence[OutputReplay]) -> bool:
    return all(item.comparison.holds for item in outputs)


def _changed_files(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Name the files that are not those that were packed."""
    golden = manifest.golden.samples if manifest.golden else ()
    for file in manifest.files:
        found = hash_file(folder / file.path, file.path)
        if found != file:
            what = "a golden sample" if file.path in golden else "a weight or file of the model"
            yield (
                f"{file.path} is not the file that was packed ({what} changed): sha256 "
                f"{found.sha256[:12]}… instead of {file.sha256[:12]}…"
            )
