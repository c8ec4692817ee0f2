"""`bascule preflight`: would this model work here, or on a node whose facts are in a file?"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.text import Text

from runtimes.errors import BasculeError
from runtimes.facts import NodeFacts
from runtimes.findings import Finding, Severity
from runtimes.model_facts import OnnxModel, TorchScriptArchive
from runtimes.node_probe import Engine, probe
from runtimes.preflight.catalogue import CATALOGUE
from runtimes.preflight.check import apply_policy, check, has_errors
from runtimes.preflight.choice import choice_of
from runtimes.preflight.subject import Subject
from runtimes.preflight.waivers import Waiver, for_version
from runtimes.trial_run import try_model
from serving.cli.codes_view import print_codes
from serving.cli.render import console, print_json
from serving.cli.rules import rules_in_force, waivers_in_force
from serving.cli.sarif import sarif_of
from serving.cli.shown_text import shown, shown_line
from serving.cli.system_failure import system_failure_text
from serving.clock import SystemClock
from serving.errors import NotFoundError
from serving.ids import model_name, version_number
from serving.registry.bundles.pins import installed_packages
from serving.registry.preflight.facts_file import read_facts
from serving.registry.preflight.preflight_target import Target, read_target
from serving.registry.preflight.profiles import read_profiles
from serving.registry.preflight.subject import Surroundings
from serving.settings import Settings, load_settings

COLOURS: Final = {
    Severity.ERROR: "bold red",
    Severity.WARNING: "yellow",
    Severity.INFO: "cyan",
}
ENGINES: Final[dict[str, Engine]] = {
    "onnx": "onnx",
    "torchscript": "torch",
    "torch_export": "torch",
}

UNLISTED: Final = (
    "it lists no inputs, and a TorchScript file does not tell their datatypes and shapes: "
    "bascule preflight --dynamic shows the text for config.pbtxt"
)


class Exit(IntEnum):
    """What the exit status says."""

    CLEAN = 0
    WARNINGS = 1
    ERRORS = 2
    NOT_CHECKED = 3


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `--json` prints."""

    target: str
    subject: str
    profile: str
    """The hardware profile that it was judged by; empty: none was asked for."""
    tried: bool
    """It was loaded and run, too."""
    errors: int
    warnings: int
    findings: tuple[Finding, ...]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: bascule preflight resnet-3 · bascule preflight model.onnx --profile "
        "cuda-ampere --facts gpu-node.json"
    )(preflight)


def preflight(  # noqa: PLR0913  one parameter for each flag
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET", help="A bundle, a model file, a model's folder, or MODEL:VERSION."
        ),
    ] = None,
    *,
    profile: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Hardware profile, in order of preference; repeatable."),
    ] = None,
    facts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Facts of another node (bascule facts).")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Warnings count; of security and hardware: as errors.")
    ] = False,
    dynamic: Annotated[
        bool, typer.Option("--dynamic/--no-dynamic", help="Load it, run it, replay its samples.")
    ] = False,
    budget_ms: Annotated[
        float, typer.Option(min=0, help="Milliseconds that a warm run may take; tries it.")
    ] = 0.0,
    shape: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    codes: Annotated[bool, typer.Option("--codes", help="List all codes and end.")] = False,
) -> None:
    """Check a model against a node, and say what to do where it would not work.

    Exit status: 0 nothing to mend, 1 warnings (with --strict), 2 errors, 3 it could not be checked.
    """
    if codes:
        print_codes(tuple(CATALOGUE.values()), as_json=as_json)
        return
    if target is None:
        _fail("name a bundle, a model file, a model's folder or MODEL:VERSION of the registry")
    try:
        asked = Question(
            profiles=tuple(profile or ()),
            facts=facts,
            strict=strict,
            dynamic=dynamic or budget_ms > 0,
            budget_s=budget_ms / 1e3,
        )
        report = examine(target, asked)
    except (BasculeError, OSError) as error:
        _fail(error.message if isinstance(error, BasculeError) else system_failure_text(error))
    _print(report, Format.JSON if as_json else shape)
    raise typer.Exit(_status(report, strict=strict))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a target."""

    profiles: tuple[str, ...] = ()
    facts: Path | None = None
    strict: bool = False
    dynamic: bool = False
    budget_s: float = 0.0
    """What a warm run may take; 0: anything."""


def examine(target: str, asked: Question) -> Report:
    """Check one target.

    Raises:
        BasculeError: It cannot be found or read.
        OSError: Likewise.
    """
    settings = load_settings()
    around = Surroundings(
        now_utc=SystemClock().utc_now(),
        wanted_profiles=asked.profiles,
        profiles=read_profiles(settings.home / "profiles"),
        trust=rules_in_force(settings),
    )
    found = _target(target, around)
    node = _node(found.subject, asked.facts)
    is_here = asked.facts is None
    around = replace(around, node=node, installed=installed_packages() if is_here else {})
    found = _target(target, around)
    subject = _claiming(_with_memory(found), asked.budget_s)
    if not (asked.dynamic and is_here) and not Path(target).is_file():
        subject = _with_inputs_asked_for(subject)
    waivers = _waivers(subject.name, settings)
    findings = check(subject)
    is_tried = asked.dynamic and is_here and not has_errors(apply_policy(findings, waivers=waivers))
    if is_tried:
        order = replace(found.order(), is_timed=asked.budget_s > 0)
        subject = replace(subject, trial=try_model(order, now_s=time.perf_counter))
        findings = check(subject, waived=waivers.keys())
    weighed = apply_policy(findings, strict=asked.strict, waivers=waivers)
    choice = choice_of(subject)
    return Report(
        target=target,
        subject=subject.name,
        profile=choice.profile.name if choice else "",
        tried=is_tried,
        errors=sum(one.severity is Severity.ERROR for one in weighed),
        warnings=sum(one.severity is Severity.WARNING for one in weighed),
        findings=weighed,
    )


def _claiming(subject: Subject, budget_s: float) -> Subject:
    return replace(subject, claims=replace(subject.claims, latency_budget_s=budget_s))


def _with_inputs_asked_for(subject: Subject) -> Subject:
    """Claim a problem where a configuration must list inputs; a trial says with which text."""
    claims = subject.claims
    is_script = isinstance(subject.model, TorchScriptArchive)
    if not is_script or claims.problem or claims.configured.inputs:
        return subject
    return replace(subject, claims=replace(claims, problem=UNLISTED))


def _waivers(subject: str, settings: Settings) -> Mapping[str, Waiver]:
    """Return what is allowed for a version; a file without a name of its own has no waivers."""
    name, separator, number = subject.rpartition(":")
    if not separator or not number.isdecimal():
        return {}
    return for_version(waivers_in_force(settings), name, int(number))


def _target(text: str, around: Surroundings) -> Target:
    place = Path(text)
    name, separator, number = text.partition(":")
    if place.exists() or not separator:
        return read_target(place, around)
    settings = load_settings()
    if not (settings.home / "registry").is_dir():
        raise NotFoundError(f"there is no registry in {settings.home}: push a bundle first")
    from serving.registry.store import Registry  # noqa: PLC0415  SQL takes a second to import

    with Registry.of(settings) as registry:
        folder = registry.folder(model_name(name), version_number(number))
    return read_target(folder, around)


def _node(subject: Subject, facts: Path | None) -> NodeFacts:
    """Read the facts of another node, or ask this one and the engine that the format needs."""
    if facts is not None:
        return read_facts(facts)
    engine = ENGINES.get(subject.format)
    return probe((engine,) if engine else ())


def _with_memory(found: Target) -> Subject:
    """Add an estimate of GPU memory where a GPU is asked for."""
    subject, file = found.subject, found.model_file
    choice = choice_of(subject)
    if subject.placement is None or choice is None or not choice.is_cuda or file is None:
        return subject
    if not isinstance(subject.model, OnnxModel):
        return subject
    from runtimes.onnx_memory import estimate_activations  # noqa: PLC0415  imports onnx

    guess = estimate_activations(file, subject.claims.configured.max_batch_rows or 1)
    placement = replace(subject.placement, activation_bytes=guess.peak_bytes)
    return replace(subject, placement=placement)


def _fail(message: str) -> NoReturn:
    typer.echo(f"bascule: {shown(message)}", err=True)
    sys.exit(Exit.NOT_CHECKED)


def _status(report: Report, *, strict: bool) -> Exit:
    if report.errors:
        return Exit.ERRORS
    return Exit.WARNINGS if strict and report.warnings else Exit.CLEAN


def _print(report: Report, shape: Format) -> None:
    if shape is Format.JSON:
        print_json(report)
    elif shape is Format.SARIF:
        print_json(sarif_of(report.target, report.findings))
    else:
        _print_text(report)


def _print_text(report: Report) -> None:
    screen = console()
    for one in report.findings:
        screen.print(_line(one))
    tried = "checked and tried" if report.tried else "checked, not loaded"
    counts = f"{_count(report.errors, 'error')}, {_count(report.warnings, 'warning')}"
    by = f" for profile {report.profile}" if report.profile else ""
    screen.print(Text(f"{shown_line(report.subject)}: {counts} ({tried}{by})"))


def _line(found: Finding) -> Text:
    line = Text.assemble(
        (f"{found.severity.value:<8}", COLOURS[found.severity]),
        f"{found.code}  {shown_line(found.subject)}: ",
    )
    line.append(shown_line(found.message))
    if found.waiver:
        line.append(f"\n{'':<8}waived {found.waiver}", style="cyan")
    line.append(f"\n{'':<8}→ {found.fix}", style="bold")
    return line


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
