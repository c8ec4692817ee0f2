"""The registry against itself: rows, files, digests, aliases and the audit log must agree."""

from collections.abc import Iterator
from dataclasses import dataclass

from runtimes.errors import BasculeError
from serving.ids import LIVE, VersionKey
from serving.registry import audit, catalog
from serving.registry.catalog import Alias, RegisteredVersion
from serving.registry.collection import referenced
from serving.registry.store import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that does not agree."""

    subject: str
    text: str
    remedy: str
    is_leftover: bool = False
    """Harmless: space that the next `gc` gives back."""


def check(registry: Registry) -> tuple[Problem, ...]:
    """Compare everything with everything, every byte of every bundle included."""
    with registry.database.reading() as connection:
        rows = catalog.read_versions(connection)
        aliases = catalog.read_aliases(connection)
        pushed = catalog.read_pushed(connection)
        chain = audit.verify(connection)
    return (
        *_chain_problems(chain),
        *(problem for row in rows for problem in _row_problems(registry, row, pushed)),
        *_alias_problems(aliases, rows),
        *_leftovers(registry, rows),
    )


def _chain_problems(chain: audit.Verified) -> Iterator[Problem]:
    if chain.broken:
        yield Problem(
            subject="audit log",
            text=chain.broken,
            remedy="somebody changed the database: compare it with a backup",
        )


def _row_problems(
    registry: Registry, row: RegisteredVersion, pushed: frozenset[VersionKey]
) -> Iterator[Problem]:
    key = VersionKey(row.model, row.version)
    if key not in pushed:
        text, remedy = "the audit log knows no push of it", "compare the database with a backup"
        yield Problem(subject=str(key), text=text, remedy=remedy)
    if row.collected_utc is not None:
        if row.wanted:
            text = "it is wanted, and its files were collected"
            yield Problem(subject=str(key), text=text, remedy="push its bundle again")
        return
    try:
        found = registry.blobs.check(row.digest)
    except (BasculeError, OSError) as error:
        text = error.message if isinstance(error, BasculeError) else str(error)
        yield Problem(subject=str(key), text=text, remedy="push its bundle again")
        return
    stored = found.manifest.canonical().decode()
    if found.digest != row.digest or row.manifest_json not in {"", stored}:
        text = f"its manifest has digest {found.digest[:12]}, pushed was {row.digest[:12]}"
        yield Problem(subject=str(key), text=text, remedy="push its bundle again")


def _alias_problems(
    aliases: tuple[Alias, ...], rows: tuple[RegisteredVersion, ...]
) -> Iterator[Problem]:
    known = {(row.model, row.version) for row in rows}
    for alias in aliases:
        # A promotion may name a version of a repository, which was never pushed.
        if alias.name != LIVE and (alias.model, alias.version) not in known:
            yield Problem(
                subject=f"{alias.model}@{alias.name}",
                text=f"it stands for version {alias.version}, which was never pushed",
                remedy="bascule alias, with a version that exists",
            )


def _leftovers(registry: Registry, rows: tuple[RegisteredVersion, ...]) -> Iterator[Problem]:
    for digest in sorted(registry.blobs.digests() - referenced(rows)):
        yield Problem(
            subject=f"bundle {digest[:12]}",
            text="no version refers to it",
            remedy="bascule gc",
            is_leftover=True,
        )
    if count := registry.blobs.count_abandoned():
        yield Problem(
            subject="staging",
            text=f"{count} processes were killed and left something half done",
            remedy="bascule gc",
            is_leftover=True,
        )
