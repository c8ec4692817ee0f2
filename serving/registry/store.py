"""The registry of one home: what was pushed, what is wanted, what was promoted, and by whom.

Blocking (SQL and files): an event loop calls it in a thread. Safe for several processes at once.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sql

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.clock import Clock, SystemClock
from serving.errors import AlreadyExistsError, NotFoundError
from serving.registry import catalog
from serving.registry.blobs import Blobs
from serving.registry.bundle import read_bundle, read_manifest
from serving.registry.catalog import Event, RegisteredVersion
from serving.registry.dependencies import DEFAULT_DEPENDENCIES, Dependencies, Policy
from serving.registry.file_digests import FileDigest
from serving.registry.golden_samples import golden_spec
from serving.registry.manifest import Manifest
from serving.registry.repository import FailedVersion
from serving.registry.schema import open_catalog, told_apart
from serving.registry.triton_config import parse_config
from serving.registry.version import ServingPolicy, VersionSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What became of a push."""

    model: str
    version: int
    folder: Path
    """Where the bundle lies in the registry."""
    digest: str
    created: bool
    """False: the same version with the same content was there already."""


class Registry:
    """Catalog and blobs under `home/registry`; a context manager. Thread-safe."""

    def __init__(
        self,
        home: Path,
        *,
        gpu: bool = False,
        clock: Clock | None = None,
        dependencies: str = DEFAULT_DEPENDENCIES,
    ) -> None:
        """Open the registry, creating or migrating it where that is needed.

        Args:
            home: BASCULE_HOME.
            gpu: The node's engines can use a GPU: what KIND_AUTO means here.
            clock: What events are dated by.
            dependencies: What happens where a pinned package differs: a `Policy`.

        Raises:
            NotReadyError: The catalog cannot be opened, or stayed locked.
            InvalidArgumentError: It is damaged, or a newer Bascule wrote it.
        """
        root = home.absolute() / "registry"
        self._blobs = Blobs(root)
        self._gpu = gpu
        self._dependencies = Dependencies(Policy(dependencies))
        self._clock = clock or SystemClock()
        self._url = f"sqlite:///{root / 'catalog.sqlite'}"
        self._engine = open_catalog(self._url, root / "migration.lock")
        self._specs: dict[str, VersionSpec] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def push(self, folder: Path, who: str) -> Pushed:
        """Verify a bundle, keep a copy, and ask for its version to be loaded.

        Killed at any moment, it leaves the version there, or not there. Pushing what is there
        already changes nothing, even if it was packed again; an archived version is wanted again.
        The first version of a model becomes its live one; later ones wait for a promotion.

        Raises:
            AlreadyExistsError: The version exists with other content: it never changes.
            NotFoundError: `folder` is no bundle.
            InvalidArgumentError: The bundle is damaged.
        """
        manifest = read_manifest(folder)
        with self._read() as connection:
            there = catalog.read_version(connection, manifest.name, manifest.version)
        if there is not None:
            _require_same(manifest, there)
        if there is None or there.digest == manifest.digest():
            self._blobs.add(folder)
        else:
            read_bundle(folder)  # packed again: what is stored stays, and this one must be sound
        if there is not None and there.wanted:
            return self._pushed(manifest, there.digest, created=False)
        try:
            with self._change() as connection:
                return self._push_row(connection, manifest, who)
        except AlreadyExistsError:
            self._blobs.discard(manifest.digest())  # another push took the number meanwhile
            raise

    def change_counter(self) -> int:
        """Return a number that rises with every change: cheap, for polling."""
        with self._read() as connection:
            return catalog.read_revision(connection)

    def wanted(self) -> tuple[VersionSpec, ...]:
        """Return every version that shall be loaded and can be, by model and version."""
        return tuple(spec for spec in self._wanted() if isinstance(spec, VersionSpec))

    def failed(self) -> tuple[FailedVersion, ...]:
        """Return every version that shall be loaded and cannot be, with the reason."""
        return tuple(spec for spec in self._wanted() if isinstance(spec, FailedVersion))

    def models(self) -> frozenset[str]:
        """Return the models that were ever pushed, wanted or not."""
        with self._read() as connection:
            return catalog.read_models(connection)

    def versions(self, model: str | None = None) -> tuple[RegisteredVersion, ...]:
        """Return the versions of a model, or of all, archived ones included."""
        with self._read() as connection:
            return catalog.read_versions(connection, model)

    def next_version(self, manifest: Manifest) -> int:
        """Return the number under which a manifest's content belongs.

        That is the newest version with the same content, or the first number that is free.
        """
        with self._read() as connection:
            versions = catalog.read_versions(connection, manifest.name)
            content = manifest.content_digest()
            same = [item.version for item in versions if item.content_digest == content]
            return max(same) if same else catalog.next_version(connection, manifest.name)

    def pinned_live(self) -> Mapping[str, int]:
        """Return the promoted version of each model that has one, repository models included."""
        with self._read() as connection:
            return catalog.read_pins(connection)

    def pin_live(self, model: str, version: int, who: str) -> None:
        """Store a promotion; the model may be one of a repository."""
        with self._change() as connection:
            before = catalog.set_pin(connection, model, version)
            detail = "" if before is None else f"before: {before}"
            self._record(connection, who, "pin_live", model, version, detail)

    def unpin_live(self, model: str, who: str) -> None:
        """Forget a promotion; one that is not there is forgotten already."""
        with self._change() as connection:
            before = catalog.set_pin(connection, model, None)
            if before is not None:
                self._record(connection, who, "unpin_live", model, before)

    def want(self, model: str, version: int, who: str) -> None:
        """Ask for a version to be loaded.

        Raises:
            NotFoundError: It was never pushed.
        """
        with self._change() as connection:
            if catalog.read_version(connection, model, version) is None:
                raise NotFoundError(f"{model}:{version} is not in the registry: push it first")
            if catalog.set_wanted(connection, model, version, is_wanted=True):
                self._record(connection, who, "want", model, version)

    def unwant(self, model: str, version: int | None, who: str) -> None:
        """Archive one version, or all (None); a promotion of what is archived is forgotten.

        Raises:
            NotFoundError: Nothing of that name is wanted.
        """
        with self._change() as connection:
            if not catalog.set_wanted(connection, model, version, is_wanted=False):
                name = model if version is None else f"{model}:{version}"
                raise NotFoundError(f"nothing of '{name}' is wanted in the registry")
            self._record(connection, who, "unwant", model, version)
            pin = catalog.read_pins(connection).get(model)
            if pin is not None and version in {None, pin}:
                catalog.set_pin(connection, model, None)
                self._record(connection, who, "unpin_live", model, pin)

    def events(self, model: str | None = None, *, limit: int = 100) -> tuple[Event, ...]:
        """Return the latest changes, newest first."""
        with self._read() as connection:
            return catalog.read_events(connection, model, limit)

    @contextmanager
    def _read(self) -> Iterator[sql.Connection]:
        with told_apart(self._url), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _change(self) -> Iterator[sql.Connection]:
        with told_apart(self._url), self._engine.begin() as connection:
            catalog.begin_change(connection)
            yield connection

    def _push_row(self, connection: sql.Connection, manifest: Manifest, who: str) -> Pushed:
        name, version = manifest.name, manifest.version
        there = catalog.read_version(connection, name, version)
        if there is None:
            digest = manifest.digest()
            catalog.insert_version(connection, manifest, digest, self._clock.utc_now())
            self._record(connection, who, "push", name, version, digest)
        else:
            _require_same(manifest, there)
            digest = there.digest
            if catalog.set_wanted(connection, name, version, is_wanted=True):
                self._record(connection, who, "want", name, version)
        if name not in catalog.read_pins(connection):
            # The first version is the live one, and stays so: a later push takes no traffic.
            catalog.set_pin(connection, name, version)
            self._record(connection, who, "pin_live", name, version)
        return self._pushed(manifest, digest, created=there is None)

    def _pushed(self, manifest: Manifest, digest: str, *, created: bool) -> Pushed:
        return Pushed(
            model=manifest.name,
            version=manifest.version,
            folder=self._blobs.folder(digest),
            digest=digest,
            created=created,
        )

    def _record(
        self,
        connection: sql.Connection,
        who: str,
        action: str,
        model: str,
        version: int | None,
        detail: str = "",
    ) -> None:
        event = Event(
            at_utc=self._clock.utc_now(),
            who=who,
            action=action,
            model=model,
            version=version,
            detail=detail,
        )
        catalog.record_event(connection, event)

    def _wanted(self) -> Iterator[VersionSpec | FailedVersion]:
        with self._read() as connection:
            rows = catalog.read_versions(connection, only_wanted=True)
        for row in rows:
            try:
                yield self._spec(row)
            except BasculeError as error:
                yield FailedVersion(model=row.model, version=row.version, reason=error.message)

    def _spec(self, row: RegisteredVersion) -> VersionSpec:
        known = self._specs.get(row.digest)
        if known is None:
            known = self._specs[row.digest] = self._read_spec(row)
        return known

    def _read_spec(self, row: RegisteredVersion) -> VersionSpec:
        """Describe a stored version from its manifest, which must be the one that was pushed."""
        source = f"configuration of {row.model}:{row.version}"
        config = parse_config(row.config, model=row.model, source=source, gpu=self._gpu)
        folder = self._blobs.folder(row.digest)
        manifest = read_manifest(folder)
        if manifest.digest() != row.digest:
            raise InvalidArgumentError(
                f"BP-F01 manifest.json: it is not the one that was pushed as {row.model}:"
                f"{row.version} (digest {manifest.digest()[:12]}, pushed {row.digest[:12]}): push "
                "the bundle again"
            )
        decision = self._dependencies.decide(manifest.requirements, folder)
        return VersionSpec(
            model=row.model,
            version=row.version,
            file=str(folder / row.model_file),
            format=row.format,
            size_bytes=row.size_bytes,
            digest=row.digest,
            origin=f"registry {folder}",
            policy=policy_of(config.policy, manifest),
            config_text=config.text,
            folder=str(folder),
            files=tuple(
                FileDigest(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256)
                for file in manifest.files
            ),
            lock_file=decision.lock_file,
            warning=decision.warning,
            golden=golden_spec(manifest),
        )


def policy_of(configured: ServingPolicy, manifest: Manifest) -> ServingPolicy:
    """Return a bundle's policy: its configuration, and what its manifest requires besides."""
    needs = manifest.requirements
    return replace(
        configured,
        profiles=needs.profiles or configured.profiles,
        deterministic=needs.deterministic or configured.deterministic,
    )


def _require_same(manifest: Manifest, there: RegisteredVersion) -> None:
    if there.content_digest != manifest.content_digest():
        raise AlreadyExistsError(
            f"{there.model}:{there.version} exists with other content (digest {there.digest[:12]}, "
            f"this bundle {manifest.digest()[:12]}): a version never changes, so push this as a "
            "new version"
        )
