"""The catalogue of events: nothing is told that it does not name."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import serving
from serving.registry.announcing.change_events import KINDS, OF_REGISTRY, announcement_of
from serving.registry.announcing.event_types import (
    BY_KIND,
    EVENT_TYPES,
    Severity,
    kind_of,
    severity_of,
)
from serving.registry.announcing.outbox import TYPE
from serving.registry.rollouts.record import RolloutState
from tests.fakes.histories import audited

SOURCES = sorted(Path(serving.__file__).parent.rglob("*.py"))


def kinds_in(path: Path) -> Iterator[str]:
    """The kinds of a file's announcements, where they are written there."""
    tree = ast.parse(path.read_text())
    named = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "Announcement":
            continue
        (value,) = [word.value for word in node.keywords if word.arg == "kind"]
        found = named.get(value.id) if isinstance(value, ast.Name) else value
        found = found.value if isinstance(found, ast.Constant) else found
        if isinstance(found, str):
            yield found


def test_what_is_announced_is_in_the_catalogue() -> None:
    """Every kind that is written anywhere, and those that are put together."""
    written = {kind for path in SOURCES for kind in kinds_in(path)}
    states = {f"rollout.{state.lower()}" for state in RolloutState}

    assert "approval.granted" in written
    assert {*written, *states, *KINDS.values()} <= {*BY_KIND}


def test_each_type_is_named_once_and_says_when() -> None:
    """A kind has one line, with a sentence for people."""
    assert len(BY_KIND) == len(EVENT_TYPES)
    assert all(one.text for one in EVENT_TYPES)
    assert all(kind_of(TYPE.format(kind=one.kind)) == one.kind for one in EVENT_TYPES)


def test_a_type_of_tomorrow_is_information() -> None:
    """Events of a newer Bascule in the same catalog are told, too."""
    assert severity_of("dev.bascule.tea.ready.v1") is Severity.INFO
    assert severity_of("dev.bascule.rollout.held.v1") is Severity.CRITICAL
    assert [one.rank for one in Severity] == [0, 1, 2]


@pytest.mark.parametrize(
    ("action", "model", "version", "kind", "subject"),
    [
        ("pin_live", "m", 2, "live.moved", "m/2"),
        ("unwant", "m", None, "version.archived", "m"),
        ("trust_key", "", None, "trust.changed", OF_REGISTRY),
    ],
)
def test_what_is_audited_is_told(
    action: str, model: str, version: int | None, kind: str, subject: str
) -> None:
    """With who and why; about the version, the model, or the registry."""
    told = announcement_of(audited(action, model, version))

    assert told is not None
    assert (told.kind, told.subject) == (kind, subject)
    assert (told.data["who"], told.data["reason"]) == ("ann", "because")


@pytest.mark.parametrize("action", ["rollout", "rollout_step", "approve", "redeliver"])
def test_what_tells_of_itself_is_not_told_twice(action: str) -> None:
    """Rollouts and approvals have events of their own."""
    assert announcement_of(audited(action, "m", 2)) is None
