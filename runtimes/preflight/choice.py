"""Pure: which profile, and so which device, a version would get on a node."""

from dataclasses import dataclass

from runtimes.facts import GpuFacts, NodeFacts
from runtimes.preflight.subject import Claims, Placement, Subject
from runtimes.profile import SHIPPED, HardwareProfile
from runtimes.profile_fit import Misfit, first_fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A profile on a node."""

    profile: HardwareProfile
    """The first that the node fits; where it fits none, the one that is preferred."""
    misfits: dict[str, tuple[Misfit, ...]]
    """By profile, why the node does not fit; empty where it fits the chosen one."""

    @property
    def is_cuda(self) -> bool:
        """The version would run on a GPU."""
        return self.profile.device == "cuda"


def choose(placement: Placement, claims: Claims) -> Choice:
    """Return the profile that a version gets; the configured device stands for a missing list."""
    profiles = placement.profiles or (SHIPPED[claims.device],)
    profile, refused = first_fit(profiles, placement.node)
    if profile is None:
        return Choice(profile=profiles[0], misfits=refused)
    return Choice(profile=profile, misfits={})


def choice_of(subject: Subject) -> Choice | None:
    """Return the choice for a subject; None where no node is known."""
    return choose(subject.placement, subject.claims) if subject.placement else None


def usable_gpus(node: NodeFacts, profile: HardwareProfile) -> tuple[GpuFacts, ...]:
    """Return the GPUs that a profile may use, the one with the most free memory first."""
    lowest, highest = profile.min_compute_capability, profile.max_compute_capability
    gpus = [
        gpu
        for gpu in node.gpus
        if not gpu.is_mig
        and gpu.compute_mode != "prohibited"
        and lowest <= gpu.compute_capability <= highest
        and gpu.memory_bytes >= profile.min_gpu_memory_bytes
    ]
    return tuple(sorted(gpus, key=lambda gpu: -gpu.free_memory_bytes))
