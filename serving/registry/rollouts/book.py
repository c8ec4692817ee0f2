"""The rollouts of a registry: begun, taken further and read here, each change with its event.

A change of a rollout and what it does to aliases and wanted versions are one transaction: there is
no moment at which one is recorded and the other is not.
"""

from typing import Final

import sqlalchemy as sql

from serving.errors import AlreadyExistsError, NotFoundError
from serving.ids import LIVE, VersionKey
from serving.registry import approval_rows, audit, catalog
from serving.registry.aliases import Author
from serving.registry.bundles.manifest import parse_manifest
from serving.registry.catalog import RegisteredVersion
from serving.registry.contracts.data_contract import DataContract
from serving.registry.contracts.kept_contract import stored_contract
from serving.registry.rollouts import rows as rollout_rows
from serving.registry.rollouts.events import Move, announce_begin, announce_move
from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import Change, Rollout, RolloutState, Transition
from serving.registry.store import Registry

UNDONE: Final = frozenset({RolloutState.FAILED, RolloutState.ROLLED_BACK})
"""Ends after which all is as it was before."""
ENGINE: Final = "rollout engine"
"""Who takes a rollout further where no person does."""


class RolloutBook:
    """A registry's rollouts. Blocking, and safe for several processes at once."""

    def __init__(self, registry: Registry) -> None:
        """Keep them where the registry keeps everything."""
        self._registry = registry

    @property
    def registry(self) -> Registry:
        """Where they are kept."""
        return self._registry

    def begin(
        self,
        key: VersionKey,
        from_version: int | None,
        plan: Plan,
        author: Author,
        evidence: str = "",
    ) -> Rollout:
        """Record a rollout; it is carried out by the running instance.

        Args:
            key: The version that traffic is to move to.
            from_version: What is live now.
            plan: How.
            author: Who asks for it, and why.
            evidence: JSON: what is foreseen.

        Raises:
            AlreadyExistsError: The model has a rollout that has not ended, or another version
                became live meanwhile.
        """
        now_utc = self._registry.clock.utc_now()
        with self._registry.database.changing() as connection:
            for other in rollout_rows.read_active(connection, key.model):
                raise AlreadyExistsError(
                    f"rollout {other.id} of '{key.model}' to version {other.to_version} is "
                    f"{other.state}: one at a time; end it first "
                    f"(bascule rollout {other.ending_order} {key.model})"
                )
            _require_live(connection, key.model, from_version)
            rollout = rollout_rows.insert(
                connection,
                Rollout(
                    id=0,
                    model=key.model,
                    from_version=from_version,
                    to_version=key.version,
                    plan=plan,
                    state=RolloutState.PENDING,
                    since_utc=now_utc,
                    who=author.who,
                    reason=author.reason,
                    created_utc=now_utc,
                ),
                evidence,
            )
            told = f"{rollout.id}: {plan.strategy} from {from_version or 'nothing'}"
            event = self._registry.event(
                author.who, "rollout", key.model, key.version, told, author.reason
            )
            audit.append(connection, event)
            announce_begin(connection, rollout)
            return rollout_rows.read_one(connection, rollout.id) or rollout

    def record(self, rollout: Rollout, change: Change, who: str) -> Rollout | None:
        """Take a rollout further, and return it; None: somebody else was faster."""
        now_utc = self._registry.clock.utc_now()
        with self._registry.database.changing() as connection:
            newest = rollout_rows.read_one(connection, rollout.id)
            if newest is None or newest.change_count != rollout.change_count:
                return None
            after = rollout_rows.advance(connection, newest, change, now_utc=now_utc, who=who)
            told = f"{rollout.id}: {_place(newest)} → {_place(after)}"
            event = self._registry.event(
                who, "rollout_step", rollout.model, rollout.to_version, told, change.reason
            )
            audit.append(connection, event)
            move = Move(before=newest, after=after, change=change, who=who)
            announce_move(connection, move, now_utc)
            _carry_out(connection, self._registry, after, change, who)
        return after

    def active(self, model: str | None = None) -> tuple[Rollout, ...]:
        """Return the rollouts that have not ended."""
        with self._registry.database.reading() as connection:
            return rollout_rows.read_active(connection, model)

    def history(self, model: str | None = None, *, limit: int = 50) -> tuple[Rollout, ...]:
        """Return the latest rollouts, newest first."""
        with self._registry.database.reading() as connection:
            return rollout_rows.read_history(connection, model, limit)

    def loadable(self, model: str) -> tuple[int, ...]:
        """Return the pushed versions of a model whose files are there, wanted or not."""
        rows = self._registry.versions(model)
        return tuple(row.version for row in rows if row.collected_utc is None)

    def registered(self, key: VersionKey) -> RegisteredVersion | None:
        """Return a version that was pushed."""
        with self._registry.database.reading() as connection:
            return catalog.read_version(connection, key.model, key.version)

    def contract(self, key: VersionKey) -> DataContract | None:
        """Return the data contract of a version that was pushed; None: it has none.

        Raises:
            NotReadyError: Its bundle is in a store that does not answer.
        """
        row = self.registered(key)
        if row is None or not row.manifest_json or row.collected_utc is not None:
            return None
        manifest = parse_manifest(row.manifest_json.encode(), f"manifest of {key}")
        if not manifest.contract_file:
            return None
        return stored_contract(self._registry.blobs.folder(row.digest), manifest)

    def missing_approval_count(self, key: VersionKey) -> int:
        """Return how many approvals a version waits for."""
        with self._registry.database.reading() as connection:
            return approval_rows.missing_count(connection, key)

    def live_before(self, model: str, live: int | None) -> int | None:
        """Return the version that was live last before this one; None: there was none."""
        with self._registry.database.reading() as connection:
            return rollout_rows.read_live_before(connection, model, live)

    def one(self, number: int) -> Rollout:
        """Return a rollout as it stands.

        Raises:
            NotFoundError: There is none of that number.
        """
        with self._registry.database.reading() as connection:
            rollout = rollout_rows.read_one(connection, number)
        if rollout is None:
            raise NotFoundError(f"there is no rollout {number} (bascule rollout history)")
        return rollout

    def found(self, number: int) -> tuple[Rollout, tuple[Transition, ...]]:
        """Return a rollout with all that became of it.

        Raises:
            NotFoundError: There is none of that number.
        """
        with self._registry.database.reading() as connection:
            rollout = rollout_rows.read_one(connection, number)
            if rollout is None:
                raise NotFoundError(f"there is no rollout {number} (bascule rollout history)")
            return rollout, rollout_rows.read_transitions(connection, number)


def _require_live(connection: sql.Connection, model: str, from_version: int | None) -> None:
    """Refuse to begin from a version that is live no more: another process promoted another."""
    pinned = catalog.read_pins(connection).get(model)
    if pinned not in {None, from_version}:
        raise AlreadyExistsError(
            f"version {pinned} of '{model}' became live just now (it was "
            f"{from_version or 'none'}): ask again"
        )


def _carry_out(
    connection: sql.Connection, registry: Registry, rollout: Rollout, change: Change, who: str
) -> None:
    """Set the alias and what is wanted; a repository's versions are wanted by their folder."""
    model, told = rollout.model, rollout_rows.asked_by(rollout)
    _set_live(connection, registry, rollout, change, who)
    for version in change.want:
        there = catalog.read_version(connection, model, version)
        if (
            there is not None
            and there.collected_utc is None
            and catalog.want(connection, model, version)
        ):
            audit.append(connection, registry.event(who, "want", model, version, told))
    for version in change.unwant:
        if _was_wanted(connection, rollout, version):
            continue
        if catalog.archive(connection, model, version, registry.clock.utc_now()):
            audit.append(connection, registry.event(who, "unwant", model, version, told))


def _was_wanted(connection: sql.Connection, rollout: Rollout, version: int) -> bool:
    """Whether a candidate that does not get the traffic was wanted before, and so is left there.

    Where nothing was live it goes: what is alone would become live by itself.
    """
    is_undone = rollout.state in UNDONE and version == rollout.to_version
    if not is_undone or rollout.from_version is None:
        return False
    return not rollout_rows.was_asked_for(connection, rollout, version)


def _set_live(
    connection: sql.Connection, registry: Registry, rollout: Rollout, change: Change, who: str
) -> None:
    """Move the alias, or take it away on the way back to where there was none."""
    model, told = rollout.model, rollout_rows.asked_by(rollout)
    if change.live is None and change.state is not RolloutState.ROLLING_BACK:
        return
    before = catalog.set_alias(connection, model, LIVE, change.live)
    if before == change.live:
        return
    was = told if before is None else f"before: {before}; {told}"
    action, version = ("pin_live", change.live) if change.live else ("unpin_live", before)
    audit.append(connection, registry.event(who, action, model, version, was, change.reason))


def _place(rollout: Rollout) -> str:
    step = f" {rollout.step + 1}" if rollout.state is RolloutState.CANARY else ""
    paused = " (paused)" if rollout.is_paused else ""
    return f"{rollout.state}{step}{paused}"
