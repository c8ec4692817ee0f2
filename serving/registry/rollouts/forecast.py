"""What a rollout would do, before it starts. Pure.

What a version takes is what packing measured; where nobody measured, its size times a factor, which
is an estimate and is called one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from serving.registry.rollouts.plan import WHOLE_SHARE, Plan, QualityTest, Step, Strategy
from serving.registry.rollouts.record import RolloutState

HOST_FACTOR: Final = 2.0
"""Of a version's size: its weights, and what the engine takes while it loads and runs them."""
GPU_FACTOR: Final = 1.5
MEASURED_MARGIN: Final = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one replica of a version takes, times its replicas."""

    host_bytes: int
    gpu_bytes: int = 0
    is_estimate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is free now, with everything loaded that is loaded."""

    host_bytes: int
    gpu_bytes: int = 0
    """On the GPU with the most; 0: there is none, or nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One state of the rollout, and how long it lasts if all goes well."""

    state: RolloutState
    text: str
    at_least_s: float = 0.0
    """0: as long as it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What would happen."""

    model: str
    from_version: int | None
    to_version: int
    strategy: Strategy
    stages: tuple[Stage, ...]
    at_least_s: float
    missing_approval_count: int
    breaks: str
    """What callers of the live version would lose; empty: nothing that is known."""
    old: Need | None
    new: Need | None
    """None: it is loaded already, and takes nothing more; for the old one: it is not known."""
    room: Room | None
    """None: nobody measures it."""
    misfit: str
    """Why both versions do not fit; empty: they do, or it is not known."""
    downtime: str
    """Of a recreate, in words."""
    data_quality: QualityTest = QualityTest.AUTO
    """How the guardrail of data contracts is settled for these versions."""


def need_of(
    size_bytes: int, measured_bytes: int, measured_gpu_bytes: int, *, is_cuda: bool, replicas: int
) -> Need:
    """Return what a version takes.

    Args:
        size_bytes: Of its files.
        measured_bytes: Host memory that it took when it was packed; 0: not measured.
        measured_gpu_bytes: GPU memory, likewise.
        is_cuda: It runs on a GPU.
        replicas: How many workers load it.
    """
    host = measured_bytes * MEASURED_MARGIN or size_bytes * HOST_FACTOR
    gpu = (measured_gpu_bytes * MEASURED_MARGIN or size_bytes * GPU_FACTOR) if is_cuda else 0.0
    is_estimate = not measured_bytes or (is_cuda and not measured_gpu_bytes)
    return Need(host_bytes=round(host * replicas), gpu_bytes=round(gpu), is_estimate=is_estimate)


def misfit(plan: Plan, new: Need | None, old: Need | None, room: Room | None) -> str:
    """Say why the candidate does not fit beside the live version; empty: it does.

    A recreate frees what the old version takes first.
    """
    if new is None or room is None:
        return ""
    is_freed = plan.strategy is Strategy.RECREATE and old is not None
    freed = old if is_freed and old is not None else Need(host_bytes=0)
    what = "by the size of its files" if new.is_estimate else "as measured when it was packed"
    for kind, needed, free in (
        ("memory", new.host_bytes, room.host_bytes + freed.host_bytes),
        ("GPU memory", new.gpu_bytes, room.gpu_bytes + freed.gpu_bytes),
    ):
        if needed > free and (kind == "memory" or room.gpu_bytes):
            return f"it takes {_size(needed)} of {kind} ({what}), and {_size(free)} are free"
    return ""


def stages(plan: Plan, missing: int, load_s: float) -> tuple[Stage, ...]:
    """Return the states that a rollout passes if all goes well."""
    return tuple(_stages(plan, missing, load_s))


def downtime(plan: Plan, load_s: float) -> str:
    """Say how long nobody answers; empty: somebody always does."""
    if plan.strategy is not Strategy.RECREATE:
        return ""
    if load_s <= 0:
        return "from the old version's unload to the new one's load, which nobody has measured yet"
    return f"about {load_s:.1f} s: what its last load took, after the old version is unloaded"


def _stages(plan: Plan, missing: int, load_s: float) -> Iterator[Stage]:
    if missing:
        yield Stage(
            state=RolloutState.PENDING, text=f"waits for people: {missing} missing approval(s)"
        )
    yield Stage(state=RolloutState.PREFLIGHT, text="files, graph, nodes and configuration")
    measured = f"{load_s:.1f} s at its last load" if load_s > 0 else "not measured yet"
    first = "the old version is unloaded, then " if plan.strategy is Strategy.RECREATE else ""
    told = f"{first}load and golden samples: {measured}, at most {plan.load_limit_s:g} s"
    yield Stage(state=RolloutState.LOADING, text=told, at_least_s=max(load_s, 0.0))
    yield Stage(state=RolloutState.VERIFYING, text="what callers of the live version would lose")
    if plan.shadow_s > 0 or plan.shadow_call_count > 0:
        text = f"copies of live calls, {_calls(plan.shadow_call_count)}"
        yield Stage(state=RolloutState.SHADOW, text=text, at_least_s=plan.shadow_s)
    for step in plan.steps:
        yield _canary(plan, step)
    is_instant = plan.strategy is Strategy.RECREATE
    old = "is gone" if is_instant else "stays loaded for the way back"
    text = f"all calls go to it; the old version {old}"
    yield Stage(state=RolloutState.SWITCHED, text=text, at_least_s=plan.baked_s)
    end = "the old version stays loaded" if plan.keep_old else "the old version is unloaded"
    yield Stage(state=RolloutState.COMPLETE, text=end)


def _canary(plan: Plan, step: Step) -> Stage:
    share = f"{100 * step.share / WHOLE_SHARE:g} % of the calls"
    if plan.strategy is Strategy.AB:
        return Stage(state=RolloutState.CANARY, text=f"{share}, until somebody decides")
    calls = _calls(max(step.call_count, plan.guardrails.min_call_count))
    return Stage(state=RolloutState.CANARY, text=f"{share}, {calls}", at_least_s=step.hold_s)


def _calls(count: int) -> str:
    return f"at least {count} calls"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 10**8 else f"{size_bytes / 1e6:.1f} MB"
