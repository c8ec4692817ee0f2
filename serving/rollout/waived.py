"""Pure: what waivers make of a gate's verdict.

A waiver that ends does not end a version that serves: it goes on, `status` says what is wrong, and
the next process that is to load it refuses.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from runtimes.preflight.check import apply_policy
from runtimes.preflight.waivers import Waiver, for_version
from serving.registry.version import VersionSpec
from serving.rollout.gate import Judged

GOLDEN: Final = "BP-R01"
"""What a worker finds out, and no gate can: the waiver travels with the version."""


def waived(judged: Judged, waivers: Sequence[Waiver]) -> Judged:
    """Return a verdict as the waivers in force leave it."""
    if not waivers:
        return judged
    mine = for_version(waivers, judged.spec.model, judged.spec.version)
    if not mine:
        return judged
    spec = _with_golden(judged.spec, mine[GOLDEN]) if GOLDEN in mine else judged.spec
    return replace(judged, spec=spec, findings=apply_policy(judged.findings, waivers=mine))


def _with_golden(spec: VersionSpec, waiver: Waiver) -> VersionSpec:
    """Allow other answers than the golden ones. Another digest: what failed is tried again."""
    if spec.golden is None:
        return spec
    return replace(
        spec,
        digest=f"{spec.digest}+{GOLDEN}",
        golden=replace(spec.golden, waiver=str(waiver)),
    )
