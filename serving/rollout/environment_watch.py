"""Watches what versions run in: compared with where they were packed and where they first ran.

Workers say what they compute with, and a fingerprint for each version. A fingerprint that was not
seen before is looked into in a thread, because the bundle's manifest must be read; until that is
done nothing is said.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from runtimes.devices import device
from runtimes.errors import BasculeError
from runtimes.facts import NodeFacts
from runtimes.findings import Finding
from serving.ids import VersionKey
from serving.registry.bundles.bundle import read_manifest
from serving.registry.environment import environment_of
from serving.registry.version import ServedVersion, VersionSpec, VersionState
from serving.rollout.desired import Desired
from serving.rollout.environment_check import packed_findings, placed_findings
from serving.rollout.memory import Observed
from serving.rollout.placed_file import PlacedFile
from serving.rollout.ports import WorkerState

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """A form of a version in an environment."""

    key: VersionKey
    digest: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One that was not looked into yet."""

    seen: Seen
    spec: VersionSpec
    served: ServedVersion
    facts: NodeFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known at this moment."""

    desired: Desired
    """With what is known of environments among its findings."""
    unknown: tuple[Sighting, ...]
    """To be looked into."""


class EnvironmentWatch:
    """Knows the findings of every environment that was looked into."""

    def __init__(self, placed: PlacedFile) -> None:
        """Have seen nothing yet.

        Args:
            placed: Where versions were first placed.
        """
        self._placed = placed
        self._findings: dict[Seen, tuple[Finding, ...]] = {}

    def look(self, desired: Desired, observed: Observed) -> Look:
        """Add to what is wanted what is known of the environments that it runs in."""
        told: dict[VersionKey, tuple[Finding, ...]] = {}
        unknown: dict[Seen, Sighting] = {}
        for one in _sightings(desired, observed):
            findings = self._findings.get(one.seen)
            if findings is None:
                unknown[one.seen] = one
            elif findings:
                known = told.get(one.seen.key, ())
                told[one.seen.key] = known + tuple(item for item in findings if item not in known)
        if not told:
            return Look(desired=desired, unknown=tuple(unknown.values()))
        findings_of = {key: desired.findings.get(key, ()) + more for key, more in told.items()}
        completed = replace(desired, findings={**desired.findings, **findings_of})
        return Look(desired=completed, unknown=tuple(unknown.values()))

    def look_into(self, sightings: Iterable[Sighting], desired: Desired) -> None:
        """Compare environments that were not seen before. Blocking: reads manifests."""
        self._placed.keep(desired.versions.keys() | desired.failed.keys())
        wanted = desired.versions
        self._findings = {
            seen: found
            for seen, found in self._findings.items()
            if seen.key in wanted and wanted[seen.key].digest == seen.digest
        }
        for one in sightings:
            self._findings[one.seen] = tuple(self._compared(one))
        try:
            self._placed.save()
        except OSError as error:
            log.warning("placed_file_not_written", error=str(error))

    def _compared(self, one: Sighting) -> Iterator[Finding]:
        spec = one.spec
        # Threads are the operator's wish for this version, and no change of its environment.
        now = environment_of(
            one.facts, format_name=spec.format, threads=0, device=device(one.served.device)
        )
        if spec.folder:
            try:
                packed = read_manifest(Path(spec.folder)).packed_on
            except (OSError, BasculeError) as error:
                log.warning("manifest_not_read", version=str(spec.key), error=str(error))
            else:
                here = replace(now, threads=packed.threads)
                yield from packed_findings(packed, here, spec.format)
        first = self._placed.first(spec.key, spec.digest, now)
        yield from placed_findings(first, now, spec.format)


def _sightings(desired: Desired, observed: Observed) -> Iterator[Sighting]:
    """Yield every version that a worker serves in its newest form, with where it runs."""
    for workers in observed.values():
        for worker in workers:
            if worker.facts is not None:
                yield from _of_worker(worker, worker.facts, desired.versions)


def _of_worker(
    worker: WorkerState, facts: NodeFacts, wanted: Mapping[VersionKey, VersionSpec]
) -> Iterator[Sighting]:
    for key, said in worker.versions.items():
        spec = wanted.get(key)
        if (
            said.state is VersionState.READY
            and spec is not None
            and said.digest == spec.digest
            and said.served is not None
            and said.served.fingerprint
        ):
            yield Sighting(
                seen=Seen(key, said.digest, said.served.fingerprint),
                spec=spec,
                served=said.served,
                facts=facts,
            )
