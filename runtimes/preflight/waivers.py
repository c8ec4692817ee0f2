"""Pure: findings that somebody allows for a while, for one version or for all of a model.

A waiver has an author, a reason and an end. It turns an error or a warning into information; what
endangers others (damaged files, code of strangers, rows that touch each other) has codes that
nobody can waive, and a waiver for one of them changes nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from runtimes.preflight.catalogue import CATALOGUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One permission."""

    code: str
    model: str
    version: int | None = None
    """None: all versions of the model."""
    reason: str
    by: str
    """Who allows it."""
    until_utc: datetime

    def __str__(self) -> str:
        """Print as what people need to know of it."""
        return f"until {self.until_utc:%Y-%m-%d %H:%M} UTC by {self.by}: {self.reason}"


def in_force(waivers: Iterable[Waiver], now_utc: datetime) -> tuple[Waiver, ...]:
    """Return the waivers that are not over."""
    return tuple(one for one in waivers if one.until_utc > now_utc)


def for_version(waivers: Iterable[Waiver], model: str, version: int) -> Mapping[str, Waiver]:
    """Return the waivers of one version, by code; of several for a code, the one that ends last."""
    found: dict[str, Waiver] = {}
    for one in waivers:
        entry = CATALOGUE.get(one.code)
        is_meant = one.model == model and one.version in {None, version}
        if not is_meant or entry is None or not entry.is_waivable:
            continue
        if one.code not in found or found[one.code].until_utc < one.until_utc:
            found[one.code] = one
    return found
