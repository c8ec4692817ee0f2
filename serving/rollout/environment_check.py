"""Pure: does a version run in the environment that it was packed in, and began in?

What differs from packing is information: golden samples, replayed at load, say whether results do.
What differs from where a version was first placed is a warning: somebody has changed a driver, a
library or a CPU under a version that serves.
"""

from collections.abc import Iterator, Sequence

from runtimes.findings import Finding, Severity
from runtimes.preflight.catalogue import found
from serving.registry.environment import Change, Described, differences

CODE = "BP-E12"
SUBJECT = "environment"
NAMED_CHANGES = 5


def packed_findings(packed: Described, now: Described, format_name: str) -> Iterator[Finding]:
    """Yield what can change a bundle's results, and is not as it was when it was packed."""
    if not packed.cpu_model:
        return  # nobody measured where it was packed
    changes = _that_matter(packed, now, format_name)
    if changes:
        yield found(
            CODE,
            SUBJECT,
            f"it is not the one that the bundle was packed in: {_named(changes)}",
            "ask bascule reproduce whether results differ",
            severity=Severity.INFO,
        )


def placed_findings(first: Described, now: Described, format_name: str) -> Iterator[Finding]:
    """Yield what can change a version's results, and is not as it was when it was first placed."""
    changes = _that_matter(first, now, format_name)
    if changes:
        yield found(
            CODE,
            SUBJECT,
            f"it is not the one that the version was first placed in: {_named(changes)}",
            "ask bascule reproduce whether results differ; unload and load the version to compare "
            "it with this environment from now on",
        )


def _that_matter(before: Described, after: Described, format_name: str) -> list[Change]:
    return [one for one in differences(before, after, format_name) if one.matters]


def _named(changes: Sequence[Change]) -> str:
    named = ", ".join(str(one) for one in changes[:NAMED_CHANGES])
    return f"{named} and {len(changes) - NAMED_CHANGES} more" if changes[NAMED_CHANGES:] else named
