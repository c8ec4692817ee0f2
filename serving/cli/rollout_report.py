"""`bascule rollout report`: one page about a rollout, for whoever asks what happened and why."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from runtimes.errors import InvalidArgumentError
from serving.cli.admin_client import AdminClient, RefusedCallError, SilentInstanceError
from serving.cli.json_flag import Json
from serving.edge.control import PageForm
from serving.errors import NotReadyError
from serving.registry.rollouts.record import ENDED
from serving.settings import load_settings

if TYPE_CHECKING:
    from serving.registry.store import Registry

LARGEST_ID: Final = 2**63 - 1
"""That a catalog can count to."""


def report(
    number: Annotated[
        int,
        typer.Argument(
            metavar="ID", min=1, max=LARGEST_ID, help="As bascule rollout history shows it."
        ),
    ],
    *,
    form: Annotated[
        PageForm | None,
        typer.Option("--format", help="Default: md, or what the name of the output ends in."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; default: the terminal.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one page about a rollout: who, what changed, what was compared, why it ended so.

    It is made from the registry alone, so no instance need run. Of a rollout that is under way, a
    running instance says what it compares now. The page holds excerpts of calls that were answered
    differently.
    """
    text = _page(number, PageForm.JSON if as_json else form or _form_of(output))
    if output is None:
        typer.echo(text, nl=not text.endswith("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidArgumentError(f"{output} cannot be written: {error.strerror}") from error
    typer.echo(f"{output} has the report of rollout {number}")


def _form_of(output: Path | None) -> PageForm:
    ending = "" if output is None else output.suffix.removeprefix(".").lower()
    return PageForm(ending) if ending in set(PageForm) else PageForm.MARKDOWN


def _page(number: int, form: PageForm) -> str:
    # The registry's libraries take a second to import: other words of the group do not wait.
    from serving.cli.registry_access import opened  # noqa: PLC0415  see above
    from serving.registry.rollouts.book import RolloutBook  # noqa: PLC0415  see above

    with opened() as registry:
        if RolloutBook(registry).one(number).state not in ENDED:
            # None, one that hangs or an older one: the catalog has all but the last moments.
            with suppress(NotReadyError, SilentInstanceError, RefusedCallError):
                return AdminClient(load_settings().admin_socket).rollout_page(number, form)
        return _from_catalog(registry, number, form)


def _from_catalog(registry: "Registry", number: int, form: PageForm) -> str:
    from serving.rollout.report.writing import written  # noqa: PLC0415  as above

    return written(registry, number, form)
