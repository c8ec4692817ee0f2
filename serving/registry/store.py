"""The registry of one home: what was pushed, what is wanted, what was promoted, and by whom.

Blocking (SQL and files): an event loop calls it in a thread. Safe for several processes at once.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import sqlalchemy as sql

from runtimes.errors import BasculeError, InvalidArgumentError
from runtimes.preflight.waivers import Waiver, in_force
from serving.clock import Clock, SystemClock
from serving.errors import AlreadyExistsError, NotFoundError, NotReadyError
from serving.ids import LIVE, VersionKey
from serving.registry import approval_rows, audit, catalog, waiver_rows
from serving.registry.audit import Event
from serving.registry.blob_places import open_blobs
from serving.registry.bundles.bundle import read_bundle, read_head
from serving.registry.bundles.dependencies import DEFAULT_DEPENDENCIES, Dependencies, Policy
from serving.registry.bundles.manifest import Manifest
from serving.registry.catalog import RegisteredVersion
from serving.registry.database import Database, sqlite_url
from serving.registry.people import current_user
from serving.registry.picture import Picture, read_changes, read_rows
from serving.registry.refusals import require_approved, require_files, require_same
from serving.registry.repository import FailedVersion
from serving.registry.rollouts import rows as rollout_rows
from serving.registry.rollouts.record import Rollout
from serving.registry.stored_version import StoredVersions, unreadable
from serving.registry.trust.rule_book import RuleBook
from serving.registry.trust.trust_gate import TrustGate, candidate_of
from serving.registry.version import VersionSpec
from serving.settings import Settings


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
    missing_approval_count: int = 0
    """How many approvals it waits for, if it is new."""


PUSH_ATTEMPTS: Final = 5
"""A collection may remove a bundle between its copy and its row: then it is copied again."""


class Registry:
    """Catalog and blobs under `home/registry`; a context manager. Thread-safe."""

    def __init__(
        self,
        home: Path,
        *,
        gpu: bool = False,
        clock: Clock | None = None,
        dependencies: str = DEFAULT_DEPENDENCIES,
        url: str = "",
        blobs: str = "",
    ) -> None:
        """Open the registry, creating or migrating it where that is needed.

        Args:
            home: BASCULE_HOME.
            gpu: The node's engines can use a GPU: what KIND_AUTO means here.
            clock: What events are dated by.
            dependencies: What happens where a pinned package differs: a `Policy`.
            url: SQLAlchemy's URL of the catalog; empty: SQLite under `home`.
            blobs: A folder or an fsspec URL for the bundles; empty: under `home`.

        Raises:
            NotReadyError: The catalog cannot be opened, or stayed locked.
            InvalidArgumentError: It is damaged, or a newer Bascule wrote it; or the URL is none.
            UnsupportedError: The database's driver is not installed.
        """
        root = home.absolute() / "registry"
        root.mkdir(parents=True, exist_ok=True)
        self.blobs = open_blobs(root, blobs)
        catalog_url = url or sqlite_url(root / "catalog.sqlite")
        self.database = Database(catalog_url, root / "migration.lock")
        self.clock = clock or SystemClock()
        self.trust = TrustGate(root, RuleBook(self.database, self.clock))
        self._stored = StoredVersions(self.trust, Dependencies(Policy(dependencies)), gpu=gpu)

    @classmethod
    def of(cls, settings: Settings, *, gpu: bool = False) -> Self:
        """Open the registry that the settings name; raises what opening one raises."""
        try:
            return cls(
                settings.home,
                gpu=gpu,
                dependencies=settings.dependencies,
                url=settings.registry_url,
                blobs=settings.blobs,
            )
        except OSError as error:
            raise InvalidArgumentError(
                f"the registry cannot be opened: {error.filename}: {error.strerror}: user "
                f"{current_user()} must be able to write it"
            ) from error

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
        self.database.close()

    def push(self, folder: Path, who: str, *, reason: str = "", note: str = "") -> Pushed:
        """Verify a bundle, keep a copy, and ask for its version to be loaded.

        The audit log has the reason in the words of who pushes, and a note of what else it did.
        Killed at any moment, it leaves the version there, or not there. Pushing what is there
        already changes nothing, even if it was packed again; an archived version is wanted again.
        The first version of a model becomes its live one, if it waits for no approvals; later ones
        wait for a promotion.

        Raises:
            AlreadyExistsError: The version exists with other content: it never changes.
            UntrustedError: The registry's rules refuse it.
            NotFoundError: `folder` is no bundle.
            InvalidArgumentError: The bundle is damaged.
        """
        head = read_head(folder)
        manifest = head.manifest
        self.trust.require(candidate_of(head))
        by = self.event(who, "push", manifest.name, manifest.version, note, reason)
        for _ in range(PUSH_ATTEMPTS):
            there = self._found(manifest)
            stored = manifest.digest() if there is None else there.digest
            if stored == manifest.digest():
                self.blobs.add(folder)
            else:
                read_bundle(folder)  # packed again: what is stored stays, this one must be sound
            if there is not None and there.wanted:
                return self._pushed(manifest, stored, created=False)
            pushed = self._push_if_whole(manifest, stored, by)
            if pushed is not None:
                return pushed
        raise NotReadyError(
            f"{manifest.name}:{manifest.version} was removed from the registry each time that it "
            "was copied there: push it again when no `bascule gc` runs"
        )

    def change_counter(self) -> int:
        """Return a number that rises with every change and every end of a waiver: for polling."""
        with self.database.reading() as connection:
            return read_changes(connection, self.clock.utc_now()) + self.trust.changes()

    def picture(self) -> Picture:
        """Return what a controller needs to know, as of one moment."""
        changes = self.trust.changes()  # a catalog that cannot be asked is no fault of a version
        with self.database.snapshot() as connection:
            rows = read_rows(connection, self.clock.utc_now())
        specs = [self._spec(row) for row in rows.wanted]
        return Picture(
            changes=rows.changes + changes,
            wanted=tuple(one for one in specs if isinstance(one, VersionSpec)),
            failed=tuple(one for one in specs if isinstance(one, FailedVersion)),
            models=rows.models,
            rollouts=rows.rollouts,
            pinned_live=rows.pinned_live,
            unapproved=rows.unapproved,
            waivers=rows.waivers,
        )

    def waivers(self, *, with_past: bool = False) -> tuple[Waiver, ...]:
        """Return what is allowed now; with the past: all that ever was."""
        with self.database.reading() as connection:
            found = waiver_rows.read(connection)
        return found if with_past else in_force(found, self.clock.utc_now())

    def rollouts(self) -> tuple[Rollout, ...]:
        """Return the rollouts that have not ended, oldest first."""
        with self.database.reading() as connection:
            return rollout_rows.read_active(connection)

    def models(self) -> frozenset[str]:
        """Return the models that were ever pushed, wanted or not."""
        with self.database.reading() as connection:
            return catalog.read_models(connection)

    def versions(self, model: str | None = None) -> tuple[RegisteredVersion, ...]:
        """Return the versions of a model, or of all, archived ones included."""
        with self.database.reading() as connection:
            return catalog.read_versions(connection, model)

    def folder(self, model: str, version: int) -> Path:
        """Return where a version's bundle lies.

        Raises:
            NotFoundError: It was never pushed, or its files were collected.
        """
        with self.database.reading() as connection:
            found = self._required(connection, model, version)
        require_files(found)
        return self.blobs.folder(found.digest)

    def next_version(self, manifest: Manifest) -> int:
        """Return the number under which a manifest's content belongs.

        That is the newest version with the same content, or the first number that is free.
        """
        with self.database.reading() as connection:
            versions = catalog.read_versions(connection, manifest.name)
            content = manifest.content_digest()
            same = [item.version for item in versions if item.content_digest == content]
            return max(same) if same else catalog.next_version(connection, manifest.name)

    def pin_live(
        self, model: str, version: int, who: str, *, reason: str = "", note: str = ""
    ) -> None:
        """Store a promotion; the model may be one of a repository.

        Args:
            model: Its name.
            version: The version that is live from now on.
            who: Who asked for it.
            reason: Why, in their words.
            note: What else the audit log shall tell.

        Raises:
            UntrustedError: The version waits for approvals.
            AlreadyExistsError: A rollout moves the model's traffic.
        """
        with self.database.changing() as connection:
            rollout_rows.require_free(connection, model)
            before = catalog.set_alias(connection, model, LIVE, version)
            if before != version:
                require_approved(connection, VersionKey(model, version), before)
            told = "" if before is None else f"before: {before}"
            detail = "; ".join(part for part in (told, note) if part)
            audit.append(connection, self.event(who, "pin_live", model, version, detail, reason))

    def want(self, model: str, version: int, who: str) -> None:
        """Ask for a version to be loaded.

        Raises:
            NotFoundError: It was never pushed, or its files were collected.
        """
        with self.database.changing() as connection:
            require_files(self._required(connection, model, version))
            if catalog.want(connection, model, version):
                audit.append(connection, self.event(who, "want", model, version))

    def unwant(self, model: str, version: int | None, who: str, *, reason: str = "") -> None:
        """Archive one version, or all (None); a promotion of what is archived is forgotten.

        Raises:
            NotFoundError: Nothing of that name is wanted.
            AlreadyExistsError: A rollout needs it.
        """
        with self.database.changing() as connection:
            rollout_rows.require_free(connection, model, version)
            if not catalog.archive(connection, model, version, self.clock.utc_now()):
                name = model if version is None else f"{model}:{version}"
                raise NotFoundError(f"nothing of '{name}' is wanted in the registry")
            event = self.event(who, "unwant", model, version, reason=reason)
            audit.append(connection, event)
            pin = catalog.read_pins(connection).get(model)
            if pin is not None and version in {None, pin}:
                catalog.set_alias(connection, model, LIVE, None)
                audit.append(connection, self.event(who, "unpin_live", model, pin))

    def events(self, model: str | None = None, *, limit: int = 100) -> tuple[Event, ...]:
        """Return the latest changes, newest first."""
        with self.database.reading() as connection:
            return audit.read(connection, model, limit)

    def _found(self, manifest: Manifest) -> RegisteredVersion | None:
        with self.database.reading() as connection:
            there = catalog.read_version(connection, manifest.name, manifest.version)
        if there is not None:
            require_same(manifest, there)
        return there

    def _required(self, connection: sql.Connection, model: str, version: int) -> RegisteredVersion:
        there = catalog.read_version(connection, model, version)
        if there is None:
            raise NotFoundError(f"{model}:{version} is not in the registry: push it first")
        return there

    def _push_if_whole(self, manifest: Manifest, stored: str, by: Event) -> Pushed | None:
        """Write the row, unless the files went meanwhile: a collection runs in a change, too."""
        try:
            with self.database.changing() as connection:
                if not self.blobs.has(stored):
                    return None
                return self._push_row(connection, manifest, by)
        except AlreadyExistsError:
            self.blobs.discard(manifest.digest())  # another push took the number meanwhile
            raise

    def _push_row(self, connection: sql.Connection, manifest: Manifest, by: Event) -> Pushed:
        by = replace(by, at_utc=self.clock.utc_now())
        name, version = manifest.name, manifest.version
        there = catalog.read_version(connection, name, version)
        if there is None:
            digest = manifest.digest()
            catalog.insert_version(connection, manifest, now_utc=by.at_utc, who=by.who)
            detail = "; ".join(part for part in (digest, by.detail) if part)
            audit.append(connection, replace(by, detail=detail))
        else:
            require_same(manifest, there)
            digest = there.digest
            if catalog.want(connection, name, version):
                audit.append(connection, replace(by, action="want"))
        missing = approval_rows.missing_count(connection, VersionKey(name, version))
        is_free = name not in catalog.read_pins(connection) and missing == 0
        if is_free and not rollout_rows.read_active(connection, name):
            # The first version is the live one, and stays so: a later push takes no traffic.
            catalog.set_alias(connection, name, LIVE, version)
            audit.append(connection, self.event(by.who, "pin_live", name, version))
        pushed = self._pushed(manifest, digest, created=there is None)
        return replace(pushed, missing_approval_count=missing)

    def _pushed(self, manifest: Manifest, digest: str, *, created: bool) -> Pushed:
        return Pushed(
            model=manifest.name,
            version=manifest.version,
            folder=self.blobs.folder(digest),
            digest=digest,
            created=created,
        )

    def event(
        self,
        who: str,
        action: str,
        model: str,
        version: int | None,
        detail: str = "",
        reason: str = "",
    ) -> Event:
        """Build an event of now."""
        return Event(
            at_utc=self.clock.utc_now(),
            who=who,
            action=action,
            model=model,
            version=version,
            detail=detail,
            reason=reason,
        )

    def _spec(self, row: RegisteredVersion) -> VersionSpec | FailedVersion:
        try:
            return self._stored.spec(row, self.blobs.folder(row.digest))
        except BasculeError as error:
            passing = isinstance(error, NotReadyError)
            reason = error.message
        except OSError as error:  # it ends the reading of no other version
            passing, reason = True, unreadable(error)
        return FailedVersion(
            model=row.model, version=row.version, reason=reason, is_passing=passing
        )
