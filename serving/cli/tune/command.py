"""`bascule tune`: find out how a model is run best on this node, and keep it with its evidence."""

import sys
from pathlib import Path
from typing import Final

import typer
from rich.text import Text

from runtimes.errors import BasculeError, InvalidArgumentError
from runtimes.threads import available_cpus
from serving.cli.admin_client import AdminClient
from serving.cli.ending import run_unwinding
from serving.cli.json_flag import Json
from serving.cli.passphrase import Passphrase, read_passphrase
from serving.cli.progress import Progress
from serving.cli.render import console, print_json
from serving.cli.tune import options
from serving.cli.tune.keeping import (
    evidence,
    push_tuned,
    refuse_displacing,
    report_folder,
    where_now,
    write_report,
)
from serving.cli.tune.rates import STAGES
from serving.cli.tune.records import Tuning
from serving.cli.tune.run import Order, Tuner
from serving.cli.tune.space import Space, space_of
from serving.cli.tune.subject import Subject, subject_of
from serving.cli.tune.view import unreachable, view
from serving.cli.tune.words import scheduling_text
from serving.registry.bundles.keys import read_signing_key
from serving.registry.model_config.scheduling import Scheduling, scheduling_lines, scheduling_of
from serving.registry.store import Pushed
from serving.settings import Settings, load_settings
from serving.standalone.gpus import visible_gpus

START_S: Final = 6.0
"""About what a trial takes before its first stage."""


class UnreachableError(BasculeError):
    """No scheduling keeps what was promised; the message says how far the best came."""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: bascule tune resnet --slo-p99-ms 20 · bascule tune resnet:3 --slo-p99-ms "
        "5 --input rows.npz --budget-s 600 --write · bascule tune models/resnet --slo-p99-ms 20"
    )(tune)


def tune(  # noqa: PLR0913  one parameter for each flag
    target: options.Target,
    *,
    slo_p99_ms: options.Slo,
    budget_s: options.Budget = 180.0,
    stage_s: options.StageLength = 2.0,
    cpus: options.Cpus = 0,
    given: options.Given = None,
    rows: options.Rows = None,
    dry_run: options.DryRun = False,
    write: options.Write = None,
    report: options.Report = None,
    sign: options.Sign = None,
    passphrase_file: Passphrase = None,
    as_json: Json = False,
) -> None:
    """Find the workers, threads and batching that answer most calls in time on this node.

    Each scheduling is served by a private instance and asked at rates of calls (open loop) until
    the highest is known whose p99 holds; the best and the present one are then measured in turns.
    Exit status 1 if nothing keeps the promised time.
    """
    if given and rows is not None:
        raise InvalidArgumentError("give --input or --rows, not both")
    settings = load_settings()
    key = None if sign is None else read_signing_key(sign, read_passphrase(passphrase_file))
    subject = subject_of(target, gpu=bool(visible_gpus()))
    order = Order(
        subject=subject,
        space=_space(subject, cpus, slo_p99_ms / 1e3),
        slo_s=slo_p99_ms / 1e3,
        budget_s=budget_s,
        stage_s=stage_s,
        given=tuple(given or ()),
        rows=rows,
        profiles=settings.home / "profiles",
        notes=tuple(_notes(settings)),
    )
    if dry_run:
        _show_plan(order, as_json=as_json)
        return
    _check_ends(subject, settings, report, wanted=write)
    where = where_now(subject.bundle.manifest.format if subject.bundle else "")
    with Progress() as progress:
        found = run_unwinding(Tuner(order, progress.say).run())
    files = evidence(found, where)
    _show(found, as_json=as_json)
    try:
        pushed = None
        chosen = found.chosen()
        if chosen is not None and subject.bundle is not None and _shall_write(chosen, wanted=write):
            config = subject.config_with(chosen)
            pushed = push_tuned(subject.bundle, config, files, settings, key)
        _tell(subject, found, pushed, as_json=as_json)
    finally:  # a question that is answered by Ctrl-C does not take the report away
        if report is not None:
            write_report(report, files)
    if found.best is None:
        raise UnreachableError(unreachable(found))


def _check_ends(
    subject: Subject, settings: Settings, report: Path | None, *, wanted: bool | None
) -> None:
    """Refuse what would fail at the end, before what takes minutes."""
    if wanted and subject.bundle is not None:
        refuse_displacing(subject.model, settings)
    if report is not None:
        report_folder(report)


def _space(subject: Subject, cpus: int, slo_s: float) -> Space:
    here = available_cpus()
    return space_of(
        subject.policy,
        scheduling_of(subject.policy, here),
        max_rows=subject.max_rows,
        cpus=cpus or here,
        slo_s=slo_s,
    )


def _notes(settings: Settings) -> list[str]:
    if AdminClient(settings.admin_socket).is_running():
        return [
            f"an instance of {settings.home} ran meanwhile: its calls took time from all trials"
        ]
    return []


def _show_plan(order: Order, *, as_json: bool) -> None:
    space, every = order.space, order.space.all()
    if as_json:
        print_json({"first": space.first(), "all": every, "trial_s": _trial_s(order)})
        return
    typer.echo(f"first: {'; '.join(scheduling_text(one) for one in space.first())}")
    typer.echo("then what is next to the best, until the best has no neighbour left; of:")
    for one in every:
        typer.echo(f"  {scheduling_text(one)}")
    typer.echo(
        f"{len(every)} at most, about {_trial_s(order):.0f} s each; --budget-s {order.budget_s:g} "
        "ends that, and comparing takes as long as 6 more"
    )


def _trial_s(order: Order) -> float:
    return START_S + STAGES * order.stage_s


def _shall_write(chosen: Scheduling, *, wanted: bool | None) -> bool:
    if wanted is not None or not sys.stdin.isatty():
        return bool(wanted)
    return typer.confirm(f"make a new version with {scheduling_text(chosen)}?")


def _show(found: Tuning, *, as_json: bool) -> None:
    if not as_json:
        console().print(view(found))


def _tell(subject: Subject, found: Tuning, pushed: Pushed | None, *, as_json: bool) -> None:
    chosen = found.chosen()
    fields = scheduling_lines(subject.config_with(chosen), subject.model) if chosen else ""
    if as_json:
        print_json({"tuning": found, "chosen": chosen, "config": fields, "pushed": pushed})
        return
    out = console()
    if pushed is not None:
        name = f"{pushed.model}:{pushed.version}"
        out.print(Text(f"{name} is in the registry, with its evidence in evidence/"))
        out.print(Text(f"next: bascule rollout start {pushed.model} --to {pushed.version}"))
    elif chosen is not None:
        out.print(Text("config.pbtxt:" if subject.bundle is None else "with --write it would say:"))
        out.print(Text(fields.rstrip()))
