"""Who may waive what: waivers are granted and ended here, each with an event in the audit log."""

from datetime import datetime, timedelta
from typing import Final

from runtimes.errors import InvalidArgumentError
from runtimes.misspelling import did_you_mean
from runtimes.preflight.catalogue import CATALOGUE
from runtimes.preflight.waivers import Waiver
from serving.errors import NotFoundError
from serving.registry import audit, waiver_rows
from serving.registry.aliases import Author
from serving.registry.store import Registry

LONGEST: Final = timedelta(days=366)
"""A waiver is for a while: what shall hold for ever is another model, or another check."""


def grant(registry: Registry, waiver: Waiver) -> None:
    """Allow a finding; running instances take note within a second.

    Raises:
        NotFoundError: There is no such code.
        InvalidArgumentError: Nobody can waive it, the reason is missing, or it would end in the
            past or too late.
    """
    now_utc = registry.clock.utc_now()
    _require_waivable(waiver.code)
    _require_sense(waiver, now_utc)
    with registry.database.changing() as connection:
        waiver_rows.insert(connection, waiver, now_utc)
        told = f"{waiver.code} until {waiver.until_utc.isoformat()}"
        event = registry.event(
            waiver.by, "waive", waiver.model, waiver.version, told, waiver.reason
        )
        audit.append(connection, event)


def end(
    registry: Registry, code: str, model: str, version: int | None, author: Author
) -> tuple[Waiver, ...]:
    """End the waivers of a code for exactly this scope now, and return them as they were.

    Raises:
        NotFoundError: There are none in force.
    """
    with registry.database.changing() as connection:
        ended = waiver_rows.end(connection, code, model, version, registry.clock.utc_now())
        if not ended:
            name = model if version is None else f"{model}:{version}"
            raise NotFoundError(f"no waiver of {code} for exactly {name} is in force")
        event = registry.event(author.who, "unwaive", model, version, code, author.reason)
        audit.append(connection, event)
    return ended


def _require_waivable(code: str) -> None:
    entry = CATALOGUE.get(code)
    if entry is None:
        hint = did_you_mean(code.upper(), CATALOGUE) or "bascule preflight --codes lists them"
        raise NotFoundError(f"there is no code '{code}'; {hint}")
    if not entry.is_waivable:
        raise InvalidArgumentError(
            f"{code} ({entry.title}) cannot be waived: mend what it finds (bascule preflight)"
        )


def _require_sense(waiver: Waiver, now_utc: datetime) -> None:
    if not waiver.reason.strip():
        raise InvalidArgumentError("a waiver needs a reason: it goes to the audit log")
    latest = now_utc + LONGEST
    if not now_utc < waiver.until_utc <= latest:
        raise InvalidArgumentError(
            f"a waiver cannot end at {waiver.until_utc:%Y-%m-%d %H:%M} UTC: choose a time from now "
            f"to {latest:%Y-%m-%d}"
        )
