"""`bascule loadtest`: ask a model under load, check every answer, and write all of it down."""

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Final

import typer

from runtimes.errors import InvalidArgumentError
from serving.cli import loadtest_options as options
from serving.cli.admin_client import AdminClient
from serving.cli.json_flag import Json
from serving.cli.listeners import listeners
from serving.cli.load.clients import Load, record
from serving.cli.load.flips import Flip, Judgement, judge, read_flips
from serving.cli.load.ledger import Heading, Ledger, Outcome, heading, read_ledger, write_ledger
from serving.cli.load.preparing import asked_questions, described, question_tensors, told_answers
from serving.cli.load.question import Question
from serving.cli.load.rollout_flips import rollout_flips
from serving.cli.load.summary import summary, summary_view
from serving.cli.load.truth import Tolerance
from serving.cli.progress import Progress
from serving.cli.render import console, print_json
from serving.cli.result_file import check_places
from serving.cli.rollout_options import seconds
from serving.ids import model_name
from serving.settings import load_settings

PLAIN_CLIENTS: Final = 4
TOLD_EVERY_S: Final = 1.0
TOLD_EVERY_ELSEWHERE_S: Final = 10.0
"""Away from a terminal each step is a line of its own."""
TOLERANCE: Final = Tolerance()


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: bascule loadtest resnet --duration 60s --ledger run.jsonl · "
        "bascule loadtest m --http-clients 8 --grpc-clients 8 --new-connections 0.5 "
        "--body-bytes 1000,1000000 --stream 1 --rate 50 · bascule loadtest counter --sequence 4 · "
        "bascule loadtest --check run.jsonl --rollouts"
    )(loadtest)


def loadtest(  # noqa: PLR0913  one parameter for each flag
    model: options.Model = None,
    *,
    ledger: options.LedgerFile = None,
    duration: options.Duration = "10s",
    http_clients: options.HttpClients = None,
    grpc_clients: options.GrpcClients = None,
    stream: options.Streams = 0,
    sequence: options.Sequences = 0,
    sequence_steps: options.SequenceSteps = 20,
    new_connections: options.NewConnections = 0.0,
    rate: options.Rate = 0.0,
    body_bytes: options.BodyBytes = "",
    json_input: options.JsonInput = None,
    expect: options.Expect = None,
    rtol: options.Rtol = TOLERANCE.relative,
    atol: options.Atol = TOLERANCE.absolute,
    timeout_s: options.Timeout = 60.0,
    http: options.Http = None,
    grpc: options.Grpc = None,
    check: options.Check = None,
    flips: options.Flips = None,
    rollouts: options.Rollouts = False,
    as_json: Json = False,
) -> None:
    """Ask a model under load, check every answer, and prove that none was lost.

    Nothing is retried: what a caller would see is what is counted. Exit status 1 if a request
    failed, an answer was wrong or could not be checked, or came from a version that was not live.
    """
    if check is not None:
        raise _end(_report(*read_ledger(check), flips, is_by_rollouts=rollouts, as_json=as_json))
    if model is None:
        raise InvalidArgumentError("name the MODEL to ask, or the ledger to --check")
    check_places(ledger)
    over_grpc = _plain_count(grpc_clients, sequence) + stream + sequence
    at = listeners(http, grpc, is_grpc_asked=over_grpc > 0)
    metadata = described(at.http, model_name(model), timeout_s)
    questions = [
        Question(model=model, tensors=tensors, step_count=sequence_steps if sequence else 0)
        for tensors in question_tensors(metadata, json_input, _sizes(body_bytes))
    ]
    told = told_answers(metadata, expect) if expect else {}
    load = Load(
        http=at.http,
        grpc=at.grpc,
        asked=asked_questions(at.http, questions, told, _limits(rtol, atol), timeout_s),
        http_client_count=_plain_count(http_clients, sequence),
        grpc_client_count=_plain_count(grpc_clients, sequence),
        new_share=new_connections,
        stream_count=stream,
        sequence_count=sequence,
        rate=rate,
        limit_s=timeout_s,
    )
    head = heading(model, time.monotonic())
    written = asyncio.run(_recorded(load, metadata.versions, seconds("--duration", duration)))
    end = _end(_report(head, written, flips, is_by_rollouts=rollouts, as_json=as_json))
    write_ledger(ledger, head, written.entries)
    raise end


def _end(is_clean: bool) -> typer.Exit:  # noqa: FBT001  its only argument
    return typer.Exit(0 if is_clean else 1)


def _limits(rtol: float, atol: float) -> Tolerance:
    return Tolerance(relative=rtol, absolute=atol)


def _check_clients(load: Load) -> None:
    if not load.client_count():
        raise InvalidArgumentError(
            "nobody asks: give --http-clients, --grpc-clients, --stream or --sequence 1 or more"
        )


def _plain_count(given: int | None, sequence: int) -> int:
    if given is not None:
        return given
    return 0 if sequence else PLAIN_CLIENTS


def _sizes(text: str) -> tuple[int, ...]:
    sizes = [part.strip() for part in text.split(",") if part.strip()]
    if not all(size.isdecimal() for size in sizes):
        raise InvalidArgumentError(f"--body-bytes {text!r}: sizes as 1000,1000000 are expected")
    return tuple(int(size) for size in sizes)


async def _recorded(load: Load, versions: tuple[str, ...], length_s: float) -> Ledger:
    """Run the load for so long, or until Ctrl-C."""
    _check_clients(load)
    ledger = Ledger()
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        """Ask nothing more; Ctrl-C does not wait for answers from then on."""
        loop.remove_signal_handler(signal.SIGINT)
        stop.set()

    with Progress() as progress:
        for version in versions:
            progress.say(f"asking version {version} what it answers")
            for asked in load.asked:
                await asked.truth.know(version)
        loop.add_signal_handler(signal.SIGINT, end)
        async with asyncio.TaskGroup() as group:
            group.create_task(record(load, stop, ledger))
            group.create_task(_tell(progress, ledger, stop))
            await _stopped(stop, length_s)
            end()
    return ledger


async def _tell(progress: Progress, ledger: Ledger, stop: asyncio.Event) -> None:
    begun_s, is_terminal = time.monotonic(), sys.stderr.isatty()
    while not stop.is_set():
        counts = ledger.counts
        # Elsewhere than on a terminal each line says when it was told.
        passed = f"{time.monotonic() - begun_s:.0f} s: " if is_terminal else ""
        progress.say(
            f"{passed}{len(ledger.entries):,} sent, {counts[Outcome.FAILED]:,} failed, "
            f"{counts[Outcome.WRONG]:,} wrong"
        )
        await _stopped(stop, TOLD_EVERY_S if is_terminal else TOLD_EVERY_ELSEWHERE_S)


async def _stopped(stop: asyncio.Event, limit_s: float) -> None:
    """Wait until `stop` is set, or for so long."""
    try:
        async with asyncio.timeout(limit_s):
            await stop.wait()
    except TimeoutError:
        return


def _report(
    head: Heading, ledger: Ledger, flips: Path | None, *, is_by_rollouts: bool, as_json: bool
) -> bool:
    """Print what a ledger says; return whether it is clean."""
    found = summary(ledger)
    judgement: Judgement | None = None
    if flips is not None:
        judgement = judge(ledger.entries, read_flips(flips, head))
    elif is_by_rollouts:
        judgement = judge(ledger.entries, _recorded_flips(head))
    if as_json:
        print_json({"model": head.model, "summary": found, "flips": judgement})
    else:
        console().print(summary_view(head.model, found, judgement))
    return found.is_clean() and (judgement is None or judgement.is_clean())


def _recorded_flips(head: Heading) -> tuple[Flip, ...]:
    client = AdminClient(load_settings().admin_socket)
    begun = [one for one in client.rollouts(head.model) if one.since_utc >= head.utc]
    return rollout_flips([client.rollout(one.id) for one in begun], head)
