"""Does a node still have the environment that a bundle was packed in? Reads the bundle's manifest.

What differs is information: golden samples, replayed at load, say whether results do. It names what
to look at when they do, and tells of a driver or a library that changed under a deployed version.
"""

from collections.abc import Iterator
from pathlib import Path

from runtimes.devices import device
from runtimes.facts import NodeFacts
from runtimes.findings import Finding
from runtimes.preflight.catalogue import found
from serving.registry.bundle import read_manifest
from serving.registry.environment import differences, environment_of
from serving.registry.version import VersionSpec

CODE = "BP-E12"
NAMED_CHANGES = 5


def environment_findings(spec: VersionSpec, node: NodeFacts | None) -> Iterator[Finding]:
    """Yield what of a node can change a bundle's results, and is not as it was when it was packed.

    Raises:
        OSError: The bundle cannot be read.
        BasculeError: It is none.
    """
    if not spec.folder or node is None:
        return
    packed = read_manifest(Path(spec.folder)).packed_on
    if not packed.cpu_model:
        return  # nobody measured where it was packed
    now = environment_of(
        node,
        format_name=spec.format,
        threads=packed.threads,
        device=device(spec.policy.device),
    )
    changes = [str(one) for one in differences(packed, now, spec.format) if one.matters]
    if changes:
        named = ", ".join(changes[:NAMED_CHANGES])
        more = f" and {len(changes) - NAMED_CHANGES} more" if len(changes) > NAMED_CHANGES else ""
        yield found(
            CODE,
            "environment",
            f"it is not the one that the bundle was packed in: {named}{more}",
            "ask bascule reproduce whether results differ",
        )
