"""May a push take the place of what the running instance serves from its model repository?

Where both have a model, the registry's versions are served and none of the repository's: a push
under such a name moves all calls at once, whatever its signature. So somebody has to say that it
is meant.
"""

from dataclasses import dataclass
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.cli.admin_client import AdminClient
from serving.edge.control import ClusterStatus
from serving.errors import AlreadyExistsError, NotReadyError
from serving.registry.version import VersionState

OF_REPOSITORY: Final = "repository "
"""How the origin of a repository's version begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """Whether a push may take the repository's place, and why."""

    is_forced: bool = False
    reason: str = ""

    def __post_init__(self) -> None:
        if self.is_forced and not self.reason.strip():
            raise InvalidArgumentError(
                "--force needs --reason TEXT: why shall it take the repository's place?"
            )


def displaced(client: AdminClient, model: str, forced: Forced) -> tuple[str, ...]:
    """Name the repository's versions that a push would take out of service; mostly there are none.

    Raises:
        AlreadyExistsError: There are some, and nobody forces it.
    """
    try:
        seen = client.status()
    except NotReadyError:  # no instance runs: nobody's calls move
        return ()
    there = _served_by_repository(seen, model)
    if there and not forced.is_forced:
        raise AlreadyExistsError(
            f"'{model}' is served from the model repository ({', '.join(there)}), and a version in "
            "the registry would take the place of all of that, and its calls: nothing was pushed. "
            "Push it under another name, or put the file into the repository; or let it take the "
            "place with bascule push --force --reason TEXT"
        )
    return there


def replaced_text(seen: ClusterStatus, key: str, model: str, gone: tuple[str, ...]) -> str:
    """Say what a push has replaced, and the way back."""
    live = seen.live.get(model)
    now = "nothing is live now" if live is None else f"live is {live} now"
    return f"{key} replaces the repository's {', '.join(gone)}: {now}; back: bascule unload {model}"


def _served_by_repository(seen: ClusterStatus, model: str) -> tuple[str, ...]:
    live = seen.live.get(model)
    return tuple(
        f"{one.key} (live)" if one.version == live else str(one.key)
        for one in seen.versions
        if one.model == model
        and one.origin.startswith(OF_REPOSITORY)
        and one.state is not VersionState.UNAVAILABLE
    )
