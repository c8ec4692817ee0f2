"""The page about a rollout: what it says in every end state, and of what was not measured."""

from dataclasses import replace
from datetime import timedelta

import pytest

from serving.registry.approval import Approval
from serving.registry.rollouts.plan import Plan, Strategy
from serving.registry.rollouts.record import RolloutState
from serving.rollout.engine.kept import Arm, Kept, Sample
from serving.rollout.report.building import page_of
from serving.rollout.report.history import History
from serving.rollout.report.page import Items, Page, Paragraph, Plot, Table
from serving.rollout.report.verdicts import samples_of
from tests.fakes.histories import KEPT, PATHS, history
from tests.fakes.rollouts import BEGAN

State = RolloutState


def texts(page: Page, title: str) -> str:
    """All that a section says, a line each."""
    section = next(one for one in page.sections if one.title == title)
    lines: list[str] = []
    for block in section.blocks:
        match block:
            case Paragraph():
                lines.append(block.text)
            case Items():
                lines += block.texts
            case Table():
                lines += [block.caption, *(" | ".join(row) for row in block.rows)]
            case Plot():
                lines.append(block.title)
    return "\n".join(lines)


def plot_named(page: Page, title: str) -> Plot:
    """One of the plots."""
    blocks = (block for section in page.sections for block in section.blocks)
    return next(one for one in blocks if isinstance(one, Plot) and one.title == title)


@pytest.mark.parametrize(
    ("state", "lead"),
    [
        (State.COMPLETE, "It ended well: version 2 then had all calls that name no version."),
        (State.ROLLED_BACK, "It was taken back: version 1 then answered as before."),
        (
            State.FAILED,
            "It ended before any call that names no version reached version 2.",
        ),
        (State.CANARY, "It is under way: CANARY 1 of 2 (5 %) since 2026-01-02 03:04:05 UTC."),
        (State.PENDING, "It is under way: PENDING since 2026-01-02 03:04:05 UTC."),
    ],
)
def test_it_begins_with_how_it_ended(state: State, lead: str) -> None:
    """In one sentence, for each state that a rollout can end or stand in."""
    assert page_of(history(state)).lead == lead


def test_a_way_back_that_was_cut_short_is_no_return() -> None:
    """A limit or an order ended it before the old version answered: the reason stands first."""
    back = history(State.ROLLED_BACK)
    note = "errors; skipped: its disk is gone"
    *early, going, end = back.stops
    stops = (
        *early,
        replace(going, transition=replace(going.transition, reason="errors")),
        replace(end, transition=replace(end.transition, reason=note)),
    )
    cut = replace(back, stops=stops, rollout=replace(back.rollout, note=note))
    assert page_of(cut).lead == (
        "It was taken back, and ended before version 1 answered: errors; skipped: its disk is gone"
    )


@pytest.mark.parametrize("strategy", [Strategy.ROLLBACK, Strategy.RECREATE])
def test_what_does_not_bake_is_not_said_to(strategy: Strategy) -> None:
    """The standard time of the plan is not theirs."""
    done = history(State.COMPLETE)
    plan = Plan(strategy=strategy)
    told = texts(page_of(replace(done, rollout=replace(done.rollout, plan=plan))), "At a glance")
    assert "plan | no bake" in told


@pytest.mark.parametrize("state", list(PATHS))
@pytest.mark.parametrize("kept", [KEPT, Kept()], ids=["all", "nothing"])
def test_every_state_has_every_section(state: State, kept: Kept) -> None:
    """Also before traffic, and where nothing was kept: then it says that."""
    page = page_of(history(state, kept=kept))
    assert [one.title for one in page.sections] == [
        "At a glance",
        "Who and why",
        "Timeline",
        "What changed in the bundle",
        "What callers see",
        "Golden replay",
        "Comparison of answers to equal calls",
        "Guardrails",
        "Memory",
        "Signatures",
        "Audit",
        "What was not measured",
    ]
    assert all(section.blocks for section in page.sections)


def test_what_failed_before_traffic_was_not_compared() -> None:
    """The page says so, and shows no numbers that nobody took."""
    page = page_of(history(State.FAILED))
    assert "Nothing was compared" in texts(page, "Guardrails")
    assert "Not measured: no live call was copied" in texts(
        page, "Comparison of answers to equal calls"
    )
    assert "Traffic over time: no window was recorded." in texts(page, "What was not measured")


def test_the_timeline_has_lengths_and_shares() -> None:
    """Ten seconds in each state, and the candidate's share of the calls in it."""
    told = texts(page_of(history(State.COMPLETE)), "Timeline")
    assert "CANARY 2 of 2 (50 %) | 10.0 s | 50 %" in told
    assert "SWITCHED | 10.0 s | 100 %" in told
    shares = plot_named(page_of(history(State.COMPLETE)), "Share of the calls").series[0]
    assert [point.y for point in shares.points] == [0, 0, 0, 0, 5, 50, 100, 100, 100]


def test_a_guardrail_has_both_numbers_its_evidence_and_its_limit() -> None:
    """And the verdict; those that are off, and those that had nothing to look at, say so."""
    told = texts(page_of(history(State.ROLLED_BACK)), "Guardrails")
    assert (
        "error_rate | 4 of 50 calls failed (8 %) | 1 of 950 calls failed (0.1053 %) | "
        "e-value 1,097 | no more than the live version; e-value 403 | BREACHED" in told
    )
    assert "output_shift | - | - | - | - | off: not compared" in told
    assert "mismatch | - | - | - | 0.1 % of the rows | not measured" in told
    assert "with at most 1 % (alpha)" in told
    assert "0.3333 % for each of the 3 sequential tests" in told


def test_copied_calls_are_shown_output_by_output() -> None:
    """The share of rows that are off, the largest error, and the worst rows with their inputs."""
    told = texts(page_of(history(State.ROLLED_BACK)), "Comparison of answers to equal calls")
    assert "y | 1 | 0.5 % | 0.25 | 0" in told
    assert "y | 3 | 9.5 | [0]: 1.0 | [0]: 1.25 | x [0]: 7.0 | abababababababab" in told


def test_who_approved_what_is_shown() -> None:
    """An approval of another digest does not count, and the page says so."""
    found = history(State.CANARY)
    assert found.new.row is not None
    given = Approval(
        model="m", version=2, digest=found.new.row.digest, who="dora", reason="", at_utc=BEGAN
    )
    other = replace(given, who="eve", digest="00")
    found = replace(
        found, approvals=(given, other), counted=frozenset({"dora"}), needed_approval_count=1
    )
    told = texts(page_of(found), "Who and why")
    assert f"approved | dora | 2026-01-02 03:04:05 UTC | (digest {given.digest})" in told
    assert "eve | 2026-01-02 03:04:05 UTC | (digest 00; does not count)" in told
    assert "1 approvals are required now, 1 count." in told


def test_a_broken_chain_is_said() -> None:
    """A page never shows hashes as whose chain holds when it does not."""
    found = history(State.COMPLETE)
    broken = replace(found, chain=replace(found.chain, broken="event 3 was changed afterwards"))
    assert "BROKEN after 9 events: event 3" in texts(page_of(broken), "Audit")
    assert "unbroken; head cdcd" in texts(page_of(found), "Audit")


def test_a_version_of_no_registry_is_not_known_and_not_guessed() -> None:
    """One of a repository, or a first version: no digest, no signature, no comparison."""
    found = history(State.COMPLETE)
    bare = replace(found.new, row=None, manifest=None)
    alone = replace(found, old=None, new=bare, rollout=replace(found.rollout, from_version=None))
    page = page_of(alone)
    assert "none: nothing was live" in texts(page, "At a glance")
    assert "not in the registry" in texts(page, "At a glance")
    assert "Not known" in texts(page, "What callers see")


def sample(from_s: float) -> Sample:
    """A window of a second."""
    return Sample(from_s=from_s, until_s=from_s + 1, candidate=Arm(call_count=1), live=Arm())


def test_windows_that_were_kept_twice_come_once() -> None:
    """A pause keeps what its state has shown so far, and the change after it keeps that again."""
    found: History = history(State.COMPLETE)
    first = Kept(samples=(sample(0), sample(1)))
    again = Kept(samples=(sample(0), sample(1), sample(2)))
    later = Kept(samples=(sample(5),))
    stops = [
        replace(stop, kept=kept)
        for stop, kept in zip(found.stops[:3], (first, again, later), strict=True)
    ]
    joined = samples_of(replace(found, stops=tuple(stops)))
    assert [one.from_s for one in joined] == [0, 1, 2, 5]


def test_a_page_is_the_same_twice() -> None:
    """Nothing in it depends on anything but the history."""
    found = history(State.ROLLED_BACK)
    assert page_of(found) == page_of(found)
    later = replace(found, made_utc=found.made_utc + timedelta(seconds=9))
    assert page_of(found) != page_of(later)
