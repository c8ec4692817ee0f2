"""`bascule waive` and `bascule waivers`: findings of preflight that somebody allows for a while."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final

import typer
from rich.text import Text

from runtimes.errors import InvalidArgumentError
from runtimes.preflight.waivers import Waiver, in_force
from serving.cli.json_flag import Json
from serving.cli.registry_access import opened, target_of, who
from serving.cli.render import console, print_json
from serving.cli.tables import plain_table
from serving.registry.aliases import Author
from serving.registry.waivers import end, grant

DURATION: Final = re.compile(r"([1-9][0-9]{0,5})(h|d|w)")
UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        epilog="Examples: bascule waive BP-H05 resnet:3 --until 14d --reason 'the big node is "
        "ordered' · bascule waive BP-H05 resnet:3 --end --reason 'it is here'"
    )(waive)
    app.command(epilog="Example: bascule waivers --past")(waivers)


def waive(
    code: Annotated[str, typer.Argument(metavar="CODE", help="As in BP-H05 (preflight --codes).")],
    target: Annotated[
        str, typer.Argument(metavar="MODEL[:VERSION]", help="Or MODEL@ALIAS; a model: all of it.")
    ],
    *,
    reason: Annotated[str, typer.Option(help="Why: it goes to the audit log.")],
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE|14d", help="A day (UTC), or how long: 12h, 14d, 2w."),
    ] = None,
    ends: Annotated[bool, typer.Option("--end", help="End it now.")] = False,
    as_json: Json = False,
) -> None:
    """Allow a finding for a while: a version that has it is loaded; status shows who said so."""
    if (until is None) is not ends:
        raise InvalidArgumentError("say either --until DATE or --end")
    code = code.upper()
    with opened() as registry:
        model, version = target_of(registry, target)
        if until is None:
            done = end(registry, code, model, version, Author(who=who(), reason=reason.strip()))
        else:
            until_utc = moment(until, registry.clock.utc_now())
            granted = Waiver(
                code=code,
                model=model,
                version=version,
                reason=reason.strip(),
                by=who(),
                until_utc=until_utc,
            )
            grant(registry, granted)
            done = (granted,)
        is_pushed = model in registry.models()
    if as_json:
        print_json(done)
    elif ends:
        typer.echo(f"{code} is waived no longer for {target}: the next load refuses it again")
    else:
        typer.echo(f"{code} is waived for {target} {done[0]}")
        if not is_pushed:
            typer.echo(
                f"no model '{model}' is in the registry: this counts for one of a model "
                "repository, or for one that is pushed later"
            )


def waivers(
    *,
    past: Annotated[bool, typer.Option("--past", help="Those that are over, too.")] = False,
    as_json: Json = False,
) -> None:
    """List what is allowed: which finding, for which version, by whom, why and until when."""
    with opened() as registry:
        found, now_utc = registry.waivers(with_past=past), registry.clock.utc_now()
    if as_json:
        print_json(found)
        return
    current = in_force(found, now_utc)
    table = plain_table(("code", "model", "version", "until (UTC)", "by", "why"))
    for one in found:
        over = "" if one in current else " (over)"
        table.add_row(
            one.code,
            Text(one.model),
            "all" if one.version is None else str(one.version),
            f"{one.until_utc:%Y-%m-%d %H:%M}{over}",
            Text(one.by),
            Text(one.reason),
        )
    console().print(table if found else "nothing is waived")


def moment(text: str, now_utc: datetime) -> datetime:
    """Return the end that `2026-12-01` (the end of that day) or `14d` stands for.

    Raises:
        InvalidArgumentError: It is neither.
    """
    length = DURATION.fullmatch(text)
    try:
        if length:
            return now_utc + int(length[1]) * UNITS[length[2]]
        return datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgumentError(
            f"'{text}' is no end: write a day as 2026-12-01, or how long as 12h, 14d or 2w"
        ) from error
