"""Pure: the hardware profile that a version gets, out of those that it prefers and what nodes are.

The first of its profiles that any node fits is used. What the profile says of the engine becomes
part of the version's policy; what the model's own configuration says of threads stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from runtimes.facts import NodeFacts
from runtimes.findings import Finding, Severity
from runtimes.profile import HardwareProfile
from runtimes.profile_fit import Misfit, misfits
from serving.registry.version import ServingPolicy

NO_FIT = "BP-H08"
"""No node fits any profile of a version."""
SECOND_CHOICE = "BP-H09"
"""A node fits a profile that is not the version's first choice."""
UNKNOWN_PROFILE = "BP-H10"
"""A version names a profile that nobody has defined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What became of a version's profiles."""

    policy: ServingPolicy
    """With the chosen profile in it; unchanged where there is none."""
    findings: tuple[Finding, ...] = ()
    """Why a profile was passed over; errors where none fits."""


def choose(
    policy: ServingPolicy, profiles: Mapping[str, HardwareProfile], nodes: Sequence[NodeFacts]
) -> Choice:
    """Choose a version's profile.

    Args:
        policy: The version's policy, with the names of its profiles.
        profiles: Every profile that is defined, by name.
        nodes: What is known of the nodes; none: nothing is refused for what they lack.
    """
    unknown = [name for name in policy.profiles if name not in profiles]
    if unknown:
        return Choice(policy=policy, findings=(_unknown(unknown[0], profiles),))
    if not policy.profiles or not nodes:
        return Choice(policy=policy)
    refused: dict[str, tuple[Misfit, ...]] = {}
    for name in policy.profiles:
        missed = min((misfits(profiles[name], node) for node in nodes), key=len)
        if not missed:
            passed_over = (_passed_over(name, refused),) if refused else ()
            chosen = applied(policy, profiles[name])
            lists_cpu = any(profiles[other].device == "cpu" for other in policy.profiles)
            return Choice(
                policy=replace(chosen, may_use_cpu=chosen.may_use_cpu or lists_cpu),
                findings=passed_over,
            )
        refused[name] = missed
    return Choice(policy=policy, findings=(_no_fit(refused),))


def applied(policy: ServingPolicy, profile: HardwareProfile) -> ServingPolicy:
    """Return a version's policy as a profile completes it."""
    return replace(
        policy,
        profile=profile.name,
        device=profile.device,
        gpu_count=profile.gpu_count,
        threads=policy.threads or profile.threads,
        precision=profile.precision,
        gpu_arena_bytes=profile.gpu_arena_bytes,
        allow_cpu_nodes=profile.allow_cpu_nodes,
        may_use_cpu=profile.allow_cpu_nodes,
    )


def _unknown(name: str, profiles: Mapping[str, HardwareProfile]) -> Finding:
    return Finding(
        code=UNKNOWN_PROFILE,
        severity=Severity.ERROR,
        subject=name,
        message=f"hardware profile '{name}' is not defined here",
        found=name,
        required=", ".join(sorted(profiles)),
        fix=f"use one of {', '.join(sorted(profiles))}, or define it in BASCULE_HOME/profiles",
    )


def _no_fit(refused: Mapping[str, tuple[Misfit, ...]]) -> Finding:
    return Finding(
        code=NO_FIT,
        severity=Severity.ERROR,
        subject=", ".join(refused),
        message=f"no node fits any of its hardware profiles ({_reasons(refused)})",
        found="; ".join(missed[0].found for missed in refused.values()),
        required="; ".join(missed[0].required for missed in refused.values()),
        fix=next(iter(refused.values()))[0].fix + ", or let it list a profile that a node fits",
    )


def _passed_over(chosen: str, refused: Mapping[str, tuple[Misfit, ...]]) -> Finding:
    first = next(iter(refused))
    return Finding(
        code=SECOND_CHOICE,
        severity=Severity.WARNING,
        subject=chosen,
        message=f"it runs with profile {chosen}, not with {first} ({_reasons(refused)})",
        found=chosen,
        required=first,
        fix=refused[first][0].fix,
    )


def _reasons(refused: Mapping[str, tuple[Misfit, ...]]) -> str:
    return "; ".join(
        f"{name}: {missed[0].found}, needs {missed[0].required}" for name, missed in refused.items()
    )
