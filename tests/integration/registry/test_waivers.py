"""Waivers in the catalog: they have an author, a reason and an end, and every end is noticed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtimes.errors import BasculeError
from runtimes.preflight.waivers import Waiver
from serving.errors import NotFoundError
from serving.registry.aliases import Author
from serving.registry.store import Registry
from serving.registry.waivers import LONGEST, end, grant

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
WAIVER = Waiver(code="BP-H05", model="m", reason="ordered", by="ann", until_utc=NOW + DAY)


class SetClock:
    """A clock that a test sets."""

    now = NOW

    def monotonic_s(self) -> float:
        """Return the time since the epoch."""
        return self.now.timestamp()

    def utc_now(self) -> datetime:
        """Return what was set."""
        return self.now


@pytest.fixture
def clock() -> SetClock:
    """Noon of the first of May."""
    return SetClock()


@pytest.fixture
def registry(home: Path, clock: SetClock) -> Iterator[Registry]:
    """An open registry with that clock."""
    with Registry(home, clock=clock) as opened:
        yield opened


def test_a_waiver_is_in_force_until_its_end(registry: Registry, clock: SetClock) -> None:
    """It is there until its end, which counts as a change; and never deleted."""
    grant(registry, WAIVER)
    before = registry.change_counter()
    assert registry.waivers() == (WAIVER,)

    clock.now = WAIVER.until_utc
    assert registry.waivers() == ()
    assert registry.change_counter() > before
    assert registry.waivers(with_past=True) == (WAIVER,)


def test_a_waiver_is_ended_early(registry: Registry, clock: SetClock) -> None:
    """Ended, it is over at once, for exactly its scope; the counter rises then, and not later."""
    grant(registry, WAIVER)
    other = replace(WAIVER, version=2)
    grant(registry, other)
    before = registry.change_counter()

    assert end(registry, "BP-H05", "m", None, Author(who="bob", reason="it is here")) == (WAIVER,)

    assert registry.waivers() == (other,)
    after = registry.change_counter()
    assert after > before
    clock.now += 2 * DAY
    assert registry.change_counter() == after + 1  # the other one's end
    with pytest.raises(NotFoundError, match="exactly m"):
        end(registry, "BP-H05", "m", None, Author(who="bob"))


def test_who_waives_is_in_the_audit_log(registry: Registry) -> None:
    """Granting and ending are told with author, reason, code and end."""
    grant(registry, replace(WAIVER, version=3))
    end(registry, "BP-H05", "m", 3, Author(who="bob", reason="it is here"))

    told = [(one.who, one.action, one.version, one.reason) for one in registry.events("m")]
    assert told == [("bob", "unwaive", 3, "it is here"), ("ann", "waive", 3, "ordered")]
    assert registry.events("m")[1].detail == f"BP-H05 until {WAIVER.until_utc.isoformat()}"


@pytest.mark.parametrize(
    ("waiver", "says"),
    [
        pytest.param(replace(WAIVER, code="BP-F01"), "cannot be waived", id="hash"),
        pytest.param(replace(WAIVER, code="BP-S05"), "cannot be waived", id="security"),
        pytest.param(replace(WAIVER, code="BP-H5"), "did you mean BP-H05", id="misspelt"),
        pytest.param(replace(WAIVER, reason=" "), "needs a reason", id="no reason"),
        pytest.param(replace(WAIVER, until_utc=NOW), "cannot end", id="over"),
        pytest.param(replace(WAIVER, until_utc=NOW + LONGEST + DAY), "cannot end", id="for ever"),
    ],
)
def test_what_nobody_may_waive(registry: Registry, waiver: Waiver, says: str) -> None:
    """Refused with the reason, and nothing is kept of it."""
    with pytest.raises(BasculeError, match=says):
        grant(registry, waiver)
    assert registry.waivers(with_past=True) == ()
    assert registry.events() == ()
