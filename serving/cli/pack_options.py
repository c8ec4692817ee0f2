"""The flags of `bascule pack`: what they are called, and what they become."""

import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from runtimes.errors import InvalidArgumentError
from runtimes.tolerance import Tolerance, tolerance
from serving.registry.bundles.manifest import Lineage
from serving.registry.model_config.config_file import read_config
from serving.registry.model_config.parsing import says_max_batch

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A Triton model configuration, config.pbtxt.")
]
Rows = Annotated[
    int | None,
    typer.Option("--max-batch-size", min=0, help="Rows of a batch at most; 0: no batch dimension."),
]
Include = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="A file that the model reads beside it; may be repeated."),
]
Licence = Annotated[str, typer.Option(help="The model's licence.")]
Notes = Annotated[str, typer.Option(help="Anything a colleague should know.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="Default: NAME-VERSION.")
]
Sign = Annotated[Path | None, typer.Option(metavar="KEY", help="Sign with this private key.")]
Profiles = Annotated[
    list[str] | None,
    typer.Option("--profile", metavar="NAME", help="A hardware profile, the best first."),
]
GoldenFiles = Annotated[
    list[Path] | None,
    typer.Option("--golden", metavar="FILE", help="Golden inputs, .npz or .json; may be repeated."),
]
GoldenCount = Annotated[
    int, typer.Option("--golden-samples", min=0, max=100, help="Golden samples to make up.")
]
Tolerances = Annotated[
    list[str] | None,
    typer.Option(
        "--tolerance",
        metavar="OUTPUT=CLASS",
        help="What is accepted elsewhere: rtol:1e-3,atol:1e-5, ulp:4, bitwise, label or none.",
    ),
]
TrainingData = Annotated[
    str, typer.Option(metavar="REF[#SHA256]", help="What it was trained on: a URL, a snapshot.")
]
TrainedUntil = Annotated[
    datetime | None, typer.Option(metavar="TIME", help="The newest observation it has seen (UTC).")
]
CodeRevision = Annotated[
    str | None, typer.Option(help="Default: this folder's git revision, if nothing is changed.")
]
Parent = Annotated[str, typer.Option(metavar="MODEL:VERSION", help="What it was made from.")]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME=VALUE", help="What it reached; may be repeated."),
]
Card = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The model card; default: a template.")
]
Contract = Annotated[
    Path | None, typer.Option(metavar="FILE", help="What inputs must look like, contract.yaml.")
]
Reference = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The profile of the training data.")
]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Run with deterministic algorithms, one thread.")
]
OnDevice = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="Where golden samples are run: cpu, cuda.")
]

SHA256_AT_END: Final = re.compile(r"(.+)#(?:sha256:)?([0-9a-f]{64})", re.DOTALL)
GIT_TIMEOUT_S: Final = 10


def config_text(path: Path | None, max_batch_size: int | None) -> str:
    """Return the configuration with the flag's value in it.

    Raises:
        InvalidArgumentError: The file cannot be read, or says max_batch_size itself.
    """
    try:
        text = read_config(path) if path is not None else ""
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error}") from error
    if max_batch_size is None:
        return text
    if says_max_batch(text):
        raise InvalidArgumentError(
            f"{path} says max_batch_size: change it there, or leave out --max-batch-size"
        )
    return f"{text.rstrip()}\nmax_batch_size: {max_batch_size}\n".lstrip()


def lineage_of(
    training_data: str,
    trained_until: datetime | None,
    code_revision: str,
    parent: str,
    metrics: Sequence[str],
) -> Lineage:
    """Return what a version came from, as the flags say.

    Raises:
        InvalidArgumentError: A metric is no finite number.
    """
    hashed = SHA256_AT_END.fullmatch(training_data)
    return Lineage.model_construct(  # checked with the whole manifest
        training_data=hashed[1] if hashed else training_data,
        training_data_sha256=hashed[2] if hashed else "",
        trained_until=trained_until and trained_until.replace(tzinfo=UTC),
        code_revision=code_revision,
        parent=parent,
        metrics=dict(_metric(text) for text in metrics),
    )


def tolerances_of(texts: Sequence[str]) -> Mapping[str, Tolerance]:
    """Return the tolerance of each output that a flag names.

    Raises:
        InvalidArgumentError: One cannot be read.
    """
    return dict(_tolerance(text) for text in texts)


def git_revision(folder: Path) -> tuple[str, str]:
    """Return the revision of a checkout without changes, and why there is none otherwise."""
    revision = _git(folder, "rev-parse", "HEAD")
    if revision is None:
        return "", "code revision: this folder is no git checkout; say --code-revision"
    if _git(folder, "status", "--porcelain") != "":
        return "", "code revision: this folder has changes; commit them, or say --code-revision"
    return revision, ""


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  fixed words, no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607  git is found on the path
            capture_output=True,
            text=True,
            check=False,
            timeout=GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _metric(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or not equals or not math.isfinite(number):
        raise InvalidArgumentError(f"--metric '{text[:60]}' is none: write it as accuracy=0.93")
    return name, number


def _tolerance(text: str) -> tuple[str, Tolerance]:
    name, equals, allowed = text.partition("=")
    if not name or not equals:
        raise InvalidArgumentError(f"--tolerance '{text[:60]}' is none: write it as y=ulp:4")
    return name, tolerance(allowed)
