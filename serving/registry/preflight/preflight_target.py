"""What a person may name for preflight, and what is judged and tried of it.

================== ==========================================================
BUNDLE             a bundle's folder
FILE               a model file
MODEL, MODEL/N     a model of a repository in Triton's layout, or a version
MODEL:N            a version of the registry
================== ==========================================================
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from runtimes.errors import InvalidArgumentError, UnsupportedError
from runtimes.preflight.subject import Contract, FolderFacts, Subject
from runtimes.trial_run import TrialOrder
from serving.errors import NotFoundError
from serving.registry.bundles.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, parse_manifest
from serving.registry.contracts.contract_file import judged_contract
from serving.registry.contracts.kept_contract import CONTRACT_FILE, read_contract_file
from serving.registry.formats import FORMATS
from serving.registry.model_config.parsing import MAX_CONFIG_CHARACTERS, parse_config
from serving.registry.preflight.subject import (
    FORMAT_OF_SUFFIX,
    Surroundings,
    claims_of_config,
    subject_of_bundle,
    subject_of_file,
)
from serving.registry.preflight.trial_order import order_of_bundle, order_of_file
from serving.registry.repository import CONFIG_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A version to judge, and how to try it."""

    subject: Subject
    order: Callable[[], TrialOrder]
    """Reads what a trial needs; raises BasculeError."""
    model_file: Path | None = None
    """Where the model lies, if it does."""


def read_target(place: Path, around: Surroundings) -> Target:
    """Read a bundle, a model file, or a model of a repository.

    Raises:
        NotFoundError: There is nothing there.
        InvalidArgumentError: It is none of them.
        OSError: It cannot be read.
    """
    if place.is_file():
        return _file(place, around)
    if not place.is_dir():
        raise NotFoundError(
            f"'{place}' does not exist: name a bundle, a model file, a model's folder or "
            "MODEL:VERSION of the registry"
        )
    if (place / MANIFEST_FILE).exists():
        return _bundle(place, around)
    return _repository(place.absolute(), around)


def _bundle(folder: Path, around: Surroundings) -> Target:
    subject = subject_of_bundle(folder, around)

    def order() -> TrialOrder:
        with (folder / MANIFEST_FILE).open("rb") as stream:
            manifest = parse_manifest(stream.read(MAX_MANIFEST_BYTES + 1), MANIFEST_FILE)
        may_execute = subject.trust.may_execute
        return order_of_bundle(folder, manifest, subject.claims, may_execute=may_execute)

    return Target(subject=subject, order=order, model_file=folder / subject.folder.model_file)


def _file(file: Path, around: Surroundings) -> Target:
    subject = subject_of_file(file, around)
    return Target(
        subject=subject,
        order=lambda: order_of_file(file, subject.format, subject.claims),
        model_file=file,
    )


def _repository(folder: Path, around: Surroundings) -> Target:
    version = folder if _is_version(folder.name) and not _versions(folder) else None
    model = folder.parent if version else folder
    config = _config_text(model / CONFIG_FILE)
    if version is None:
        numbered = _versions(model)
        if not numbered:
            return _no_version(model)
        version = numbered[-1]
    name = f"{model.name}:{version.name}"
    claims = claims_of_config(config, model.name)
    parsed = None if claims.problem else parse_config(config, model=model.name)
    policy = None if parsed is None else parsed.policy
    if policy is not None and policy.ensemble:
        members = ", ".join(dict.fromkeys(step.model for step in policy.ensemble))
        raise UnsupportedError(
            f"{model} is an ensemble and has no model file to look into: preflight the models of "
            f"its steps: {members}"
        )
    file = _model_file(version, "" if parsed is None else parsed.model_file)
    subject = replace(
        subject_of_file(file, around, policy=policy),
        name=name,
        claims=claims,
        contract=_contract((version, model), around.now_utc),
    )
    return Target(
        subject=subject,
        order=lambda: order_of_file(file, subject.format, claims),
        model_file=file,
    )


def _contract(folders: Sequence[Path], now_utc: datetime | None) -> Contract | None:
    """Read the contract of the version, else the one that all versions of the model share."""
    files = [folder / CONTRACT_FILE for folder in folders if (folder / CONTRACT_FILE).is_file()]
    if not files or now_utc is None:
        return None
    try:
        return judged_contract(read_contract_file(files[0]), now_utc)
    except InvalidArgumentError as error:
        return Contract(problem=error.message)


def _no_version(model: Path) -> Target:
    """Say why a model's folder holds no version; the nearest thing to one is named."""
    others = sorted(item.name for item in model.iterdir() if item.is_dir())
    if not others:
        raise InvalidArgumentError(
            f"{model} is no bundle and holds no version: put the model at {model}/1/model.onnx"
        )
    problem = f"version '{others[0]}' must be a positive number without leading zeros"
    subject = Subject(
        name=model.name,
        format="",
        folder=FolderFacts(model_file=""),
        model=None,
        name_problem=problem,
    )

    def order() -> TrialOrder:
        raise InvalidArgumentError(problem)

    return Target(subject=subject, order=order)


def _model_file(version: Path, wanted: str) -> Path:
    names = [wanted] if wanted else [item.default_file for item in FORMATS]
    for name in names:
        if (version / name).is_file():
            return version / name
    known = sorted(item for item in version.iterdir() if item.suffix.lower() in FORMAT_OF_SUFFIX)
    if wanted or len(known) != 1:
        raise NotFoundError(f"{version} holds no {wanted or 'model.onnx, model.pt or model.pt2'}")
    return known[0]


def _versions(model: Path) -> list[Path]:
    found = [item for item in model.iterdir() if item.is_dir() and _is_version(item.name)]
    return sorted(found, key=lambda item: int(item.name))


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and not name.startswith("0")


def _config_text(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as stream:
            return stream.read(MAX_CONFIG_CHARACTERS + 1)
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{file} is no text: {error.reason}") from error
