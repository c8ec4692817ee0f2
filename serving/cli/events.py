"""`bascule events`: what receivers outside are told, and whether they were."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Annotated, Any, Final, NoReturn

import typer

from serving.cli.events_view import (
    event_json,
    events_view,
    receiver_json,
    receivers_view,
    tail_line,
    types_view,
)
from serving.cli.json_flag import Json
from serving.cli.registry_access import Reason, opened, who
from serving.cli.render import console, print_json
from serving.clock import SystemClock
from serving.errors import NotFoundError
from serving.events.cloud_event import encoded
from serving.events.courier import events_file_of
from serving.events.outbox_book import OutboxBook, Told
from serving.events.posting import HttpPoster, Parcel
from serving.events.receivers import Receiver, Receivers
from serving.events.receivers_file import read_receivers
from serving.events.retrying import Answer
from serving.ids import model_name
from serving.registry.aliases import Author
from serving.registry.announcing.event_types import EVENT_TYPES
from serving.registry.announcing.outbox import TYPE, OutboxEvent
from serving.settings import load_settings

TAIL_LOOK_S: Final = 0.5
TAIL_AT_ONCE: Final = 1000
MOST_LISTED: Final = 10_000
"""A statement takes no more values on some databases."""

Model = Annotated[str | None, typer.Option(help="Only events about this model.")]
OneReceiver = Annotated[str | None, typer.Option("--receiver", help="Only this one.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Tell others of what happens here: CloudEvents, signed, by HTTP.",
        epilog="Who is told is in events.yaml of the home (BASCULE_EVENTS_FILE). "
        "Examples: bascule events test · bascule events list --model resnet",
    )
    group.command("list", epilog="Example: bascule events list --model resnet --limit 20")(show)
    group.command(epilog="Example: bascule events tail --json | jq .type")(tail)
    group.command(epilog="Example: bascule events receivers")(receivers)
    group.command(epilog="Example: bascule events types --json | jq .[].kind")(types)
    group.command("test", epilog="Example: bascule events test ops")(send_test)
    group.command(
        epilog="Examples: bascule events redeliver 4f1c · bascule events redeliver --dead"
    )(redeliver)
    app.add_typer(group, name="events")


def show(
    *,
    model: Model = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="The latest so many.")] = 30,
    as_json: Json = False,
) -> None:
    """Show events, oldest first, and what became of them with each receiver."""
    name = None if model is None else model_name(model)
    source = read_receivers(events_file_of(load_settings())).source
    with opened() as registry:
        book = OutboxBook(registry)
        found = book.dead(name, limit=limit) if dead else book.read(name, limit=limit)
    if as_json:
        print_json([event_json(one, source) for one in found])
    elif found:
        console().print(events_view(found))
    else:
        typer.echo("no event was given up" if dead else "there is no event")


def tail(*, model: Model = None, as_json: Json = False) -> None:
    """Print events as they come, until Ctrl-C; with --json one CloudEvent a line."""
    name = None if model is None else model_name(model)
    source = read_receivers(events_file_of(load_settings())).source
    with opened() as registry, suppress(KeyboardInterrupt):
        _follow(OutboxBook(registry), name, lambda one: _tell(one, source, as_json=as_json))


def receivers(*, as_json: Json = False) -> None:
    """Show who is told, of what, and how each of them stands."""
    file = events_file_of(load_settings())
    known = read_receivers(file)
    with opened() as registry:
        tallies = OutboxBook(registry).tallies()
    if as_json:
        found = [receiver_json(one, tallies.get(one.name)) for one in known.receivers]
        print_json({"file": str(file), "source": known.source, "receivers": found})
    elif known.receivers:
        console().print(receivers_view(known.receivers, tallies))
    else:
        typer.echo(f"nobody is told: {file} names no receiver (bascule events --help)")


def types(*, as_json: Json = False) -> None:
    """Show every type of event, how much it matters, and when it is told.

    `types` and `min_severity` of a receiver in events.yaml choose among them.
    """
    if as_json:
        print_json(
            [
                {
                    "kind": one.kind,
                    "type": TYPE.format(kind=one.kind),
                    "severity": one.severity,
                    "text": one.text,
                }
                for one in EVENT_TYPES
            ]
        )
    else:
        console().print(types_view(EVENT_TYPES))


def send_test(
    name: Annotated[
        str | None, typer.Argument(metavar="[RECEIVER]", help="All if left out.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Send a signed test event from here, now, and say what came back; exit status 1 if it failed.

    Its type is `dev.bascule.events.test.v1`. It is sent once, to receivers that want no such type,
    too, and kept nowhere.
    """
    known = read_receivers(events_file_of(load_settings()))
    chosen = _chosen(known, name)
    answers = asyncio.run(_sent(chosen, known.source))
    if as_json:
        print_json(
            [
                {"receiver": one.name, "taken": answer.is_taken, **_answer_json(answer)}
                for one, answer in zip(chosen, answers, strict=True)
            ]
        )
    else:
        for one, answer in zip(chosen, answers, strict=True):
            typer.echo(f"{one.name}: {'taken' if answer.is_taken else 'not taken'}: {answer.told}")
    if not all(answer.is_taken for answer in answers):
        raise typer.Exit(1)


def redeliver(
    uid: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="An event's id, or its beginning.")
    ] = None,
    *,
    dead: Annotated[bool, typer.Option("--dead", help="All that were given up.")] = False,
    receiver: OneReceiver = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Let the running instance send an event again, with the same id, to whom it was for."""
    if (uid is None) is not dead:
        raise typer.BadParameter("name one event, or all that were given up (--dead)")
    author = Author(who=who(), reason=reason.strip())
    with opened() as registry:
        book = OutboxBook(registry)
        if uid is None:
            count = book.redeliver_dead(receiver, author)
        else:
            count = book.redeliver(uid, receiver, author)
    if as_json:
        print_json({"deliveries": count})
    else:
        typer.echo(f"{count} {'delivery is' if count == 1 else 'deliveries are'} due again")


def _follow(book: OutboxBook, model: str | None, tell: Callable[[Told], None]) -> NoReturn:
    last = book.newest_id()
    while True:
        for one in book.read(model, after_id=last, limit=TAIL_AT_ONCE):
            last = one.event.id
            tell(one)
        time.sleep(TAIL_LOOK_S)


def _tell(told: Told, source: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(encoded(told.event, source).decode())
    else:
        typer.echo(tail_line(told.event))


def _chosen(known: Receivers, name: str | None) -> list[Receiver]:
    found = [one for one in known.receivers if name in {None, one.name}]
    if not found:
        names = ", ".join(one.name for one in known.receivers) or "none"
        called = "" if name is None else f" called '{name}'"
        raise NotFoundError(f"there is no receiver{called}: events.yaml names {names}")
    return found


async def _sent(chosen: Iterable[Receiver], source: str) -> list[Answer]:
    clock = SystemClock()
    poster = HttpPoster(clock)
    event = OutboxEvent(
        id=0,
        uid=str(uuid.uuid4()),
        type=TYPE.format(kind="events.test"),
        subject="events/test",
        at_utc=clock.utc_now(),
        data='{"who":"bascule events test"}',
    )
    parcel = Parcel(uid=event.uid, body=encoded(event, source))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(poster.post(one, parcel)) for one in chosen]
    return [task.result() for task in tasks]


def _answer_json(answer: Answer) -> dict[str, Any]:
    return {"status": answer.status or None, "told": answer.told}
