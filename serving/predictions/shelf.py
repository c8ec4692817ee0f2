"""What a replay needs of this machine: models that were loaded, what files are, where it runs.

Many replays of one version load it once, and run each batch once: what was used last stays.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from runtimes.catalogue import runtime_for
from runtimes.contract import Array, LoadedModel
from runtimes.devices import Device
from runtimes.facts import NodeFacts
from runtimes.node_probe import probe
from runtimes.signature import as_configured
from serving.predictions.reading import Found
from serving.predictions.rebatching import feeds_of
from serving.predictions.record import Source
from serving.registry.environment import Environment, environment_of
from serving.registry.file_digests import FileDigest, changed_files
from serving.registry.load_request import load_request, on_device
from serving.registry.version import VersionSpec


class _Wanted(NamedTuple):
    file: str
    digest: str
    threads: int
    device: Device


class Shelf:
    """For one thread. Files are read once: what changes later is not noticed."""

    def __init__(self) -> None:
        """Load and read nothing yet."""
        self._model: LoadedModel | None = None
        self._wanted: _Wanted | None = None
        self._batch: tuple[str, ...] = ()
        self._results: Sequence[Array] = ()
        self._facts: NodeFacts | None = None
        self._changed: dict[tuple[Path, tuple[FileDigest, ...]], tuple[str, ...]] = {}

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Give back what is loaded."""
        self._close()

    def model(self, spec: VersionSpec, threads: int, where: Device) -> LoadedModel:
        """Return a version's model on exactly this device.

        Raises:
            ModelLoadError: It cannot work here.
            UnsupportedError: Its engine is not installed.
        """
        wanted = _Wanted(spec.file, spec.digest, threads, where)
        if self._model is None or self._wanted != wanted:
            self._close()
            self._batch = ()
            request = on_device(load_request(spec, threads=threads), where)
            opened = runtime_for(spec.format).load(request)
            self._model = as_configured(opened, spec.policy.configured)
            self._wanted = wanted
        return self._model

    def run(self, spec: VersionSpec, threads: int, where: Device, found: Found) -> Sequence[Array]:
        """Run the batch of a prediction; once for all of its calls that are asked for in a row.

        Raises:
            ModelLoadError: It cannot work here.
            UnsupportedError: Its engine is not installed.
            InvalidArgumentError: The engine refused the inputs.
            EngineError: The engine failed.
        """
        model = self.model(spec, threads, where)
        batch = tuple(one.head.id for one in found.company) if found.is_whole else ()
        if not batch or batch != self._batch:
            self._results = model.run(feeds_of(found))
            self._batch = batch
        return self._results

    def environment(self, format_name: str, threads: int, where: Device) -> Environment:
        """Return what results of a run here depend on."""
        if self._facts is None:
            self._facts = probe()
        return environment_of(self._facts, format_name=format_name, threads=threads, device=where)

    def changed(self, folder: Path, source: Source) -> tuple[str, ...]:
        """Name the files of a version that are not what they were when it answered."""
        asked = (folder, source.files)
        if asked not in self._changed:
            self._changed[asked] = tuple(changed_files(folder, source.files))
        return self._changed[asked]

    def _close(self) -> None:
        if self._model is not None:
            self._model.close()
            self._model = None
