"""Preflight as the controller asks it: what files, graph and node say before anything is loaded.

A bundle's bytes are not hashed here: the worker that loads them compares every file. A node is
chosen for each version: one that fits its profile, else the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from runtimes.errors import BasculeError
from runtimes.facts import NodeFacts
from runtimes.findings import Finding, Severity
from runtimes.preflight.check import check
from runtimes.preflight.subject import Subject
from runtimes.profile import HardwareProfile
from runtimes.profile_fit import misfits
from serving.clock import Clock, SystemClock
from serving.registry.bundles.dependencies import Policy
from serving.registry.preflight.subject import Surroundings, subject_of_version
from serving.registry.version import VersionSpec

log = structlog.get_logger(__name__)


class StaticChecks:
    """`serving.rollout.gate.Checks` by the catalogue of preflight."""

    def __init__(
        self,
        profiles: Mapping[str, HardwareProfile],
        dependencies: Policy,
        clock: Clock | None = None,
    ) -> None:
        """Remember what versions are judged against.

        Args:
            profiles: Every hardware profile that is defined, by name.
            dependencies: What becomes of versions whose pinned packages differ from ours.
            clock: What the age of data is counted to.
        """
        self._profiles = profiles
        self._dependencies = dependencies
        self._clock = clock or SystemClock()

    def check(self, spec: VersionSpec, nodes: Sequence[NodeFacts]) -> tuple[Finding, ...] | None:
        """Return what is wrong with a version; None: it could not be judged now."""
        node = self._node_for(spec, nodes)
        if node is not None and spec.lock_file:
            node = _without_limits(node)
        around = Surroundings(
            node=node,
            profiles=self._profiles,
            dependencies=self._dependencies,
            now_utc=self._clock.utc_now(),
            hashes_files=False,
        )
        try:
            found = check(_with_permission(subject_of_version(spec, around), spec))
        except (OSError, BasculeError) as error:
            # Its worker will say so; asked again when the files can be read.
            log.warning("preflight_cannot_read", version=str(spec.key), error=str(error))
            return None
        except Exception:  # process edge: one strange file must not end the control of all others
            log.exception("preflight_failed", version=str(spec.key))
            return None
        return tuple(item for item in found if item.severity is not Severity.INFO)

    def _node_for(self, spec: VersionSpec, nodes: Sequence[NodeFacts]) -> NodeFacts | None:
        profile = self._profiles.get(spec.policy.profile)
        fitting = (node for node in nodes if profile is None or not misfits(profile, node))
        node = next(fitting, None)
        return None if node is None else _at_rest(node)


def _at_rest(node: NodeFacts) -> NodeFacts:
    """Judge by what GPUs have, not by what was free once: our own workers use it."""
    gpus = tuple(
        replace(gpu, free_memory_bytes=gpu.memory_bytes, other_process_bytes=0) for gpu in node.gpus
    )
    return replace(node, gpus=gpus)


def _without_limits(node: NodeFacts) -> NodeFacts:
    """An environment of its own may have another engine: its worker will say what that loads."""
    engine = node.onnxruntime
    if engine is None:
        return node
    return replace(
        node,
        onnxruntime=replace(
            engine, max_opset=0, max_ir_version=0, domains=(), missing_cpu_kernels=frozenset()
        ),
    )


def _with_permission(subject: Subject, spec: VersionSpec) -> Subject:
    """Tell of the trust that the registry put into a version when it handed it out."""
    if not spec.may_execute or subject.trust.state == "invalid":
        return subject
    return replace(subject, trust=replace(subject.trust, state="trusted", may_execute=True))
