"""Histories of rollouts as a catalog gives them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from serving.monitor.comparison import ComparisonReport, OutputDifference, WorstRow
from serving.monitor.sequential import Counted
from serving.registry.audit import Event, Verified
from serving.registry.bundles.manifest import BundleFile, Manifest, PackedOn
from serving.registry.catalog import RegisteredVersion
from serving.registry.rollouts.plan import Guardrails, Plan, Step, Strategy
from serving.registry.rollouts.record import ENDED, RolloutState, Transition
from serving.rollout.engine.findings import Finding, Odds
from serving.rollout.engine.kept import Arm, Figures, Kept, Sample
from serving.rollout.report.history import Entry, History, Side, Signature, Stop
from tests.fakes.rollouts import BEGAN, rollout_record

State = RolloutState
PLAN = Plan(
    strategy=Strategy.CANARY,
    steps=(Step(share=500, hold_s=60), Step(share=5000, hold_s=60)),
    guardrails=Guardrails(min_call_count=10),
)
FORWARD = (State.PENDING, State.PREFLIGHT, State.LOADING, State.VERIFYING)
PATHS = {
    State.COMPLETE: (*FORWARD, State.CANARY, State.CANARY, State.SWITCHED, State.COMPLETE),
    State.ROLLED_BACK: (*FORWARD, State.CANARY, State.ROLLING_BACK, State.ROLLED_BACK),
    State.FAILED: (State.PENDING, State.PREFLIGHT, State.LOADING, State.FAILED),
    State.CANARY: (*FORWARD, State.CANARY),
    State.PENDING: (State.PENDING,),
}
"""Where a rollout stands → the states that took it there."""
KEPT = Kept(
    verdict="error_rate: the candidate failed 4 of 50 calls",
    findings=(
        Finding(
            guardrail="error_rate",
            text="the candidate failed",
            is_breach=True,
            evidence=Odds(log_e=7.0, log_limit=6.0),
        ),
    ),
    figures=Figures(
        candidate=Arm(call_count=50, fault_count=4, p50_s=0.002, p95_s=0.004, p99_s=0.008),
        live=Arm(call_count=950, fault_count=1, p50_s=0.001, p95_s=0.002, p99_s=0.004),
        is_live_before=False,
        rows=Counted(1, 200),
        worse_windows=2,
        better_windows=5,
        tie_windows=1,
        restart_count=0,
        first_rss_bytes=0,
        rss_bytes=0,
    ),
    samples=(
        Sample(
            from_s=40,
            until_s=41,
            candidate=Arm(call_count=50, fault_count=4, p50_s=0.002, p99_s=0.008),
            live=Arm(call_count=950, fault_count=1, p50_s=0.001, p99_s=0.004),
        ),
    ),
    comparison=ComparisonReport(
        model="m",
        version=2,
        against=1,
        compared_calls=20,
        compared_rows=200,
        mismatched_rows=1,
        copied_calls=21,
        dropped_calls=1,
        outputs={"y": OutputDifference(mismatched_rows=1, largest_absolute_error=0.25)},
        worst=(
            WorstRow(
                output="y",
                row=3,
                score=9.5,
                expected="[0]: 1.0",
                found="[0]: 1.25",
                inputs="x [0]: 7.0",
                request_sha256="ab" * 32,
            ),
        ),
    ),
)


def history(state: State, *, model: str = "m", text: str = "", kept: Kept = KEPT) -> History:
    """Return a rollout that stands in a state, ten seconds a transition.

    Args:
        state: One of `PATHS`.
        model: Its name.
        text: What strangers wrote, wherever they may.
        kept: What went on record with each change after a comparison.
    """
    path = PATHS[state]
    now_utc = BEGAN + timedelta(seconds=10 * len(path))
    end_utc = BEGAN + timedelta(seconds=10 * (len(path) - 1)) if state in ENDED else None
    rollout = rollout_record(model=model, plan=PLAN, state=state, reason=text, note=text)
    return History(
        made_utc=now_utc,
        rollout=replace(rollout, who=text or "ann", ended_utc=end_utc),
        stops=tuple(_stops(path, text, kept)),
        now=None,
        seen="",
        old=_side(model, 1, text),
        new=_side(model, 2, text),
        approvals=(),
        counted=frozenset(),
        needed_approval_count=0,
        entries=(Entry(number=7, event=_event(model, text)),),
        chain=Verified(event_count=9, head="cd" * 32),
    )


def _stops(path: Iterable[State], text: str, kept: Kept) -> Iterable[Stop]:
    before: State | None = None
    steps = 0
    for number, state in enumerate(path):
        steps += state is State.CANARY and before is State.CANARY
        transition = Transition(
            number=number + 1,
            at_utc=BEGAN + timedelta(seconds=10 * number),
            state=state,
            step=steps if state is State.CANARY else 0,
            who="rollout engine" if number else "ann",
            reason=text,
        )
        yield Stop(transition=transition, kept=kept if before is State.CANARY else Kept())
        before = state


def _side(model: str, version: int, text: str) -> Side:
    manifest = Manifest(
        name="m",
        version=version,
        format="echo",
        model_file="model.echo",
        files=(BundleFile(path="model.echo", size_bytes=version, sha256=f"{version}" * 64),),
        created_utc=BEGAN,
        packed_on=PackedOn(python="3.11", platform="linux"),
        notes=text,
    )
    row = RegisteredVersion(
        model=model,
        version=version,
        digest="ef" * 32,
        content_digest="",
        format="echo",
        model_file="model.echo",
        size_bytes=version,
        config="",
        wanted=True,
        created_utc=BEGAN,
        manifest_json="",
        pushed_by=text or "bob",
        archived_utc=None,
        collected_utc=None,
    )
    signature = Signature(key_ids=("0" * 32,), trusted_names=(text or "carol",))
    return Side(version=version, row=row, manifest=manifest, signature=signature)


def _event(model: str, text: str) -> Event:
    at_utc: datetime = BEGAN
    return Event(
        at_utc=at_utc,
        who="ann",
        action="rollout",
        model=model,
        version=2,
        detail="1: canary from 1",
        reason=text,
        hash="ab" * 32,
    )


def audited(action: str, model: str, version: int | None) -> Event:
    """Return a change as the audit log has it."""
    return Event(
        at_utc=BEGAN, who="ann", action=action, model=model, version=version, reason="because"
    )
