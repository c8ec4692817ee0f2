"""The `bascule` command: which words it knows, and how a failure reaches the terminal.

Only the module of the word that was typed is imported: `bascule --help` stays quick, and `bascule
serve` never imports Ray. A command's module has `register(app)`, which adds its commands.
"""

import errno
import inspect
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Final

import typer

from runtimes.errors import BasculeError
from serving.cli.ending import INTERRUPTED, unwind_when_told
from serving.cli.first_process import go_on_in_a_child
from serving.cli.output import UNWRITABLE, discard_output, prepare_output
from serving.cli.shown_text import shown
from serving.cli.system_failure import system_failure_text
from serving.own_version import own_version

EXAMPLES: Final = """Serve versioned ONNX and TorchScript models over HTTP and gRPC.

Try: [bold]bascule serve model.onnx[/bold], then in another terminal
[bold]bascule status[/bold] and [bold]bascule predict MODEL --generate[/bold].
"""
STATUSES: Final = (
    "Exit status: 0 done; 1 it failed, or found what its --help says; 2 the command line cannot be "
    "read; 130 Ctrl-C. bascule preflight, monitor lint and reproduce say more by theirs."
)


@dataclass(frozen=True, slots=True)
class Word:
    """One command: where it lives, and its line of `bascule --help`."""

    module: str
    help: str


WORDS: Final = {
    "serve": Word("serving.cli.serve", "Run models on this machine: edge, controller, workers."),
    "up": Word("serving.cli.up", "Start an instance on Ray Serve and return."),
    "down": Word("serving.cli.up", "Drain and end the instance on Ray Serve."),
    "pack": Word("serving.cli.pack", "Check a model and make a bundle of it."),
    "inspect": Word("serving.cli.inspect", "Show what a bundle or a model file says of itself."),
    "push": Word("serving.cli.push", "Put a bundle, or a model file, into the registry."),
    "preflight": Word("serving.cli.preflight", "Check whether a model would work on a node."),
    "waive": Word("serving.cli.waive", "Allow a finding of preflight for a while, with a reason."),
    "waivers": Word("serving.cli.waive", "List the findings that are allowed."),
    "keys": Word("serving.cli.keys", "Make signing keys; say whose signatures count here."),
    "sign": Word("serving.cli.sign", "Vouch for every byte of a bundle."),
    "verify": Word("serving.cli.sign", "Read every file of a bundle and say who signed it."),
    "list": Word("serving.cli.registry_view", "List the versions of the registry."),
    "show": Word("serving.cli.registry_view", "Show all that a version says of itself."),
    "diff": Word("serving.cli.registry_view", "Show what changed between two versions."),
    "history": Word("serving.cli.registry_log", "Show who changed what of a model, and why."),
    "audit": Word("serving.cli.registry_log", "Show or verify the audit log of the registry."),
    "alias": Word("serving.cli.registry_change", "Let a name stand for a version."),
    "archive": Word("serving.cli.registry_change", "Want a version no more."),
    "gc": Word("serving.cli.registry_upkeep", "Give the space of unused bundles back."),
    "registry": Word("serving.cli.registry_upkeep", "Check the registry against itself."),
    "import": Word("serving.cli.importing", "Make bundles of a Triton or MLflow folder."),
    "export": Word("serving.cli.exporting", "Write a version in Triton's layout."),
    "reproduce": Word("serving.cli.reproduce", "Replay a version's golden samples here."),
    "drift": Word("serving.cli.drift", "Say whether rows are still as those of a reference."),
    "log": Word("serving.cli.prediction_log", "The predictions that were kept: list, export."),
    "labels": Word("serving.cli.labels", "What was true: post labels, judge versions by them."),
    "env": Word("serving.cli.env", "What results depend on; what differs between two places."),
    "promote": Word("serving.cli.operate", "Make a version the one that answers by default."),
    "approve": Word("serving.cli.approvals", "Vouch for a version before it gets traffic."),
    "approvals": Word("serving.cli.approvals", "Who approved what, what is missing, who must."),
    "apply": Word("serving.cli.apply", "Make live versions and approvals what a file says."),
    "rollout": Word("serving.cli.rollout", "Move traffic to a version: watched, reversible."),
    "rollback": Word("serving.cli.rollback", "Give all traffic to the version before, at once."),
    "events": Word("serving.cli.events", "Tell others of rollouts: who is told, what was sent."),
    "unload": Word("serving.cli.operate", "Take a version, or a whole model, out of service."),
    "status": Word("serving.cli.operate", "Show versions, workers and edges."),
    "contract": Word("serving.cli.contract", "Draft a data contract; test data against one."),
    "quality": Word("serving.cli.quality", "What a model's data contracts have seen."),
    "metrics": Word("serving.cli.metrics", "What /metrics says, and what is made of it."),
    "predict": Word("serving.cli.predict", "Call a model and print its outputs."),
    "loadtest": Word(
        "serving.cli.loadtest", "Ask a model under load and prove that nothing is lost."
    ),
    "bench": Word("serving.cli.bench", "How much a served model can do: load by Locust."),
    "tune": Word("serving.cli.tune.command", "Find how a model is run best on this node."),
    "monitor": Word("serving.cli.monitor", "Is monitoring in order: alarms that can ring."),
    "doctor": Word("serving.cli.doctor", "Check this machine and say what to do about it."),
    "facts": Word("serving.cli.facts", "Measure this node: CPUs, memory, GPUs, engines."),
    "profiles": Word("serving.cli.facts", "Hardware profiles, and which of them fit here."),
    "environment": Word(
        "serving.cli.environment", "What a model's versions run in, and how that changed."
    ),
    "environments": Word("serving.cli.environments", "Environments of versions that pin packages."),
    "config": Word("serving.cli.operate", "Show the settings in force and where each is from."),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a failure is one sentence on stderr and exit status 1 (usage: 2)."""
    if arguments is None:
        _own_the_process()
    given = list(sys.argv[1:] if arguments is None else arguments)
    prepare_output()
    try:
        _run(given)
    except BasculeError as error:
        typer.echo(f"bascule: {shown(error.message)}", err=True)
        sys.exit(1)
    except OSError as error:
        if told := _told(error):
            typer.echo(f"bascule: {told}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:  # while the command's module was imported
        sys.exit(INTERRUPTED)
    except RuntimeError as error:
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        sys.exit(INTERRUPTED)  # Python 3.11 says so where a class was being made meanwhile


def _own_the_process() -> None:
    """Set what the whole process has one of."""
    if os.getpid() == 1:
        go_on_in_a_child()
    unwind_when_told()


def _run(given: Sequence[str]) -> None:
    try:
        build_app(given)(args=given, prog_name="bascule")
    finally:
        sys.stdout.flush()  # here, where a failure can be told


def _told(error: OSError) -> str:
    """Say what the system refused; empty: whoever read this from a pipe has read enough."""
    if error.filename is not None or error.errno not in UNWRITABLE:
        return system_failure_text(error)
    discard_output()
    if error.errno == errno.EPIPE:
        return ""
    return f"what this prints cannot be written: {system_failure_text(error)}"


def _print_version(wanted: bool) -> None:  # noqa: FBT001  the shape of a callback of typer
    if wanted:
        typer.echo(f"bascule {own_version()}")
        raise typer.Exit


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """Build the application for one command line: the command named there, and the others' names.

    Args:
        arguments: The command line without the program's name.
    """
    app = typer.Typer(
        help=EXAMPLES,
        epilog=STATUSES,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    typed = next((text for text in arguments if not text.startswith("-")), None)
    chosen = WORDS[typed].module if typed in WORDS else None
    for name, word in WORDS.items():
        if word.module != chosen:
            app.command(name, help=word.help)(_elsewhere)
    if chosen is not None:
        import_module(chosen).register(app)
        _flow(app)
    return app


def _flow(app: typer.Typer) -> None:
    """Let help be folded where the terminal ends, not also where the lines of our files do."""
    for command in app.registered_commands:
        text = command.help or inspect.getdoc(command.callback) or ""
        command.help = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _flow(group.typer_instance)


def _options(
    *,
    _: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Stand for the options before the command."""


def _elsewhere() -> None:
    """Stand for a command that was not typed."""
