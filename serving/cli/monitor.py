"""`bascule monitor`: is monitoring itself in order?"""

import socket
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer
from rich.text import Text

from runtimes.errors import BasculeError, InvalidArgumentError
from runtimes.findings import Finding, Severity
from serving.cli.codes_view import print_codes
from serving.cli.json_flag import Json
from serving.cli.monitor_live import Live, ask_instance, with_rate
from serving.cli.monitor_selftest import alarms, self_test
from serving.cli.preflight import COLOURS, Exit
from serving.cli.render import console, print_json
from serving.clock import SystemClock
from serving.errors import NotFoundError
from serving.events.courier import events_file_of
from serving.events.receivers import Receiver
from serving.events.receivers_file import read_receivers
from serving.monitor.lint.catalogue import CATALOGUE
from serving.monitor.lint.check import lint
from serving.monitor.lint.reading import read_version
from serving.monitor.lint.rules_text import read_rules
from serving.monitor.lint.subject import (
    DAY_S,
    LintReceiver,
    LintSubject,
    MonitoredVersion,
    PrometheusRule,
)
from serving.monitor.metric_list import all_metrics, haproxy_metrics
from serving.registry.aliases import named_version
from serving.settings import Settings, load_settings

CONNECT_S = 2.0
MAX_RULES_BYTES = 4 << 20


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Is monitoring itself in order?",
        epilog="Examples: bascule monitor lint · bascule monitor lint fraud-3 --rules rules.yaml · "
        "bascule monitor selftest",
    )
    group.command(
        "lint",
        epilog="Examples: bascule monitor lint · bascule monitor lint fraud:3 --rows-per-s 100 "
        "--false-alarm-days 30 · bascule monitor lint --rules rules.yaml --codes",
    )(lint_monitoring)
    group.command(
        "selftest",
        epilog="Examples: bascule monitor selftest · bascule monitor selftest fraud --json",
    )(self_test)
    group.command("alarms", epilog="Example: bascule monitor alarms --json")(alarms)
    app.add_typer(group, name="monitor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `--json` prints."""

    is_running: bool
    """A running instance was asked, too."""
    versions: tuple[str, ...]
    rules: int
    errors: int
    warnings: int
    findings: tuple[Finding, ...]


Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TARGET]...",
        help="Bundles, or MODEL:VERSION; left out: the versions of the running instance.",
    ),
]
Rules = Annotated[
    list[Path] | None,
    typer.Option("--rules", metavar="FILE", help="Rules of Prometheus; repeatable."),
]
ScrapeInterval = Annotated[
    float, typer.Option(min=0.1, max=3600, help="Seconds between two scrapes of Prometheus.")
]
FalseAlarmDays = Annotated[
    float,
    typer.Option(min=0.01, help="Budget: one false alarm of drift, of a version, in so long."),
]
RowsPerS = Annotated[
    float | None, typer.Option(min=0, help="Of each version, instead of what is measured.")
]
MeasureS = Annotated[
    float, typer.Option(min=0.1, max=3600, help="How long the running instance is counted.")
]
MaxSeries = Annotated[int, typer.Option(min=1, help="Series that were planned.")]
Offline = Annotated[bool, typer.Option("--offline", help="Ask neither an instance nor receivers.")]
Strict = Annotated[bool, typer.Option("--strict", help="Warnings count.")]
Codes = Annotated[bool, typer.Option("--codes", help="List all codes and end.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked."""

    targets: tuple[str, ...]
    rules: tuple[Path, ...]
    scrape_interval_s: float
    false_alarm_days: float
    rows_per_s: float | None
    measure_s: float
    max_series: int
    is_offline: bool


def lint_monitoring(  # noqa: PLR0913  one parameter for each flag
    targets: Targets = None,
    *,
    rules: Rules = None,
    scrape_interval_s: ScrapeInterval = 15.0,
    false_alarm_days: FalseAlarmDays = 30.0,
    rows_per_s: RowsPerS = None,
    measure_s: MeasureS = 5.0,
    max_series: MaxSeries = 10_000,
    offline: Offline = False,
    strict: Strict = False,
    codes: Codes = False,
    as_json: Json = False,
) -> None:
    """Find what keeps monitoring from working: alarms that cannot ring, or ring without cause.

    Exit status: 0 nothing to mend, 1 warnings (with --strict), 2 errors, 3 it could not be checked.
    """
    if codes:
        print_codes(tuple(CATALOGUE.values()), as_json=as_json)
        return
    asked = Question(
        targets=tuple(targets or ()),
        rules=tuple(rules or ()),
        scrape_interval_s=scrape_interval_s,
        false_alarm_days=false_alarm_days,
        rows_per_s=rows_per_s,
        measure_s=measure_s,
        max_series=max_series,
        is_offline=offline,
    )
    try:
        report = examine(asked, load_settings())
    except (BasculeError, OSError) as error:
        _fail(error.message if isinstance(error, BasculeError) else str(error))
    if as_json:
        print_json(report)
    else:
        _print(report)
    raise typer.Exit(_status(report, strict=strict))


def examine(asked: Question, settings: Settings) -> Report:
    """Judge monitoring.

    Raises:
        BasculeError: Something that was named cannot be read.
        OSError: Likewise.
    """
    is_asked = not asked.is_offline
    live = ask_instance(settings, asked.measure_s, now_s=time.monotonic) if is_asked else None
    versions = [_version(target, settings) for target in asked.targets or _registered(live)]
    if live is not None and not asked.targets:
        versions += live.others
    known = read_receivers(events_file_of(settings)).receivers
    subject = LintSubject(
        versions=tuple(with_rate(one, live, asked.rows_per_s, settings) for one in versions),
        rules=tuple(rule for file in asked.rules for rule in _rules(file)),
        receivers=tuple(_receiver(one, is_asked=is_asked) for one in known),
        exported=None if live is None else live.exported,
        scrape_interval_s=asked.scrape_interval_s,
        false_alarm_every_s=asked.false_alarm_days * DAY_S,
        max_series=asked.max_series,
    )
    by_name = {one.name: one for one in known}
    found = lint(
        subject,
        (*all_metrics(), *haproxy_metrics()),
        lambda one, kind, about: by_name[one.name].wants(kind, about),
    )
    return _report(subject, found, is_running=live is not None)


def _registered(live: Live | None) -> Sequence[str]:
    return () if live is None else live.registered


def _version(text: str, settings: Settings) -> MonitoredVersion:
    now_utc = SystemClock().utc_now()
    folder = Path(text)
    if folder.is_dir():
        return read_version(folder, now_utc)
    if not (settings.home / "registry").is_dir() and not settings.registry_url:
        raise NotFoundError(
            f"'{text}' is no bundle, and there is no registry in {settings.home}: push it first"
        )
    from serving.registry.store import Registry  # noqa: PLC0415  SQL takes a second to import

    with Registry.of(settings) as registry:
        key = named_version(registry, text)
        return read_version(registry.folder(key.model, key.version), now_utc)


def _rules(file: Path) -> tuple[PrometheusRule, ...]:
    with file.open("rb") as stream:
        raw = stream.read(MAX_RULES_BYTES + 1)
    if len(raw) > MAX_RULES_BYTES:
        raise InvalidArgumentError(f"{file} has more than {MAX_RULES_BYTES} bytes")
    return read_rules(raw, file.name)


def _receiver(one: Receiver, *, is_asked: bool) -> LintReceiver:
    return LintReceiver(
        name=one.name,
        types=one.types,
        subjects=one.subjects,
        problem=_problem(one.url) if is_asked else "",
    )


def _problem(url: str) -> str:
    """Connect, and send nothing: whether it takes events is what `bascule events test` asks."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with closing(socket.create_connection((parts.hostname or "", port), CONNECT_S)):
            return ""
    except OSError as error:
        return f"{parts.hostname}:{port}: {error.strerror or error}"


def _report(subject: LintSubject, found: tuple[Finding, ...], *, is_running: bool) -> Report:
    return Report(
        is_running=is_running,
        versions=tuple(one.name for one in subject.versions),
        rules=len(subject.rules),
        errors=sum(one.severity is Severity.ERROR for one in found),
        warnings=sum(one.severity is Severity.WARNING for one in found),
        findings=found,
    )


def _status(report: Report, *, strict: bool) -> Exit:
    if report.errors:
        return Exit.ERRORS
    return Exit.WARNINGS if strict and report.warnings else Exit.CLEAN


def _print(report: Report) -> None:
    screen = console()
    for one in report.findings:
        line = Text.assemble(
            (f"{one.severity.value:<8}", COLOURS[one.severity]), f"{one.code}  {one.subject}: "
        )
        line.append(one.message)
        line.append(f"\n{'':<8}→ {one.fix}", style="bold")
        screen.print(line)
    asked = "with the running instance" if report.is_running else "without an instance"
    screen.print(
        Text(
            f"{_count(len(report.versions), 'version')}, {_count(report.rules, 'rule')}: "
            f"{_count(report.errors, 'error')}, {_count(report.warnings, 'warning')} ({asked})"
        )
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _fail(message: str) -> NoReturn:
    typer.echo(f"bascule: {message}", err=True)
    sys.exit(Exit.NOT_CHECKED)
