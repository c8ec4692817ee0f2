"""The flags of commands that pack about a model's own packages."""

from pathlib import Path
from typing import Annotated, cast

import typer

from runtimes.errors import InvalidArgumentError
from serving.registry.bundles.dependencies import Policy
from serving.registry.bundles.manifest import DependencyWord, Requirements

Lock = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Packages with exact versions, as requirements.txt."),
]
Dependencies = Annotated[
    str,
    typer.Option(
        metavar="POLICY",
        help="Where a package of --lock differs: refuse, warn, isolate (the version's worker runs "
        "in an environment of its own) or ignore. Default: BASCULE_DEPENDENCIES of the node.",
    ),
]


def dependency_requirements(policy: str) -> Requirements:
    """Return requirements with the policy that was typed, or without one.

    Raises:
        InvalidArgumentError: It is none.
    """
    if policy and policy not in set(Policy):
        raise InvalidArgumentError(
            f"--dependencies '{policy[:40]}' is no policy: write {', '.join(Policy)}"
        )
    return Requirements(dependencies=cast("DependencyWord", policy))
