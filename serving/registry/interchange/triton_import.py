"""Reads a repository in Triton's layout for import: each chosen version becomes an order to pack.

A link may point anywhere inside the folder that is imported, and nowhere else.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from runtimes.errors import BasculeError, InvalidArgumentError, UnsupportedError
from serving.registry.bundles.packing import PackOrder
from serving.registry.ensemble import NO_BUNDLE
from serving.registry.interchange.imports import Candidate, Refusal, Survey, inner_file
from serving.registry.model_config.carry import label_files, shared_data, without_effect
from serving.registry.repository import CONFIG_FILE, ModelScan, Repository
from serving.registry.version import VersionSpec


def is_model_folder(folder: Path) -> bool:
    """Whether a folder is one model in Triton's layout, rather than a folder of such."""
    if (folder / CONFIG_FILE).is_file():
        return True
    return any(_is_number(item.name) and item.is_dir() for item in folder.iterdir())


def survey_model(folder: Path, created_utc: datetime) -> Survey:
    """Read one model.

    Args:
        folder: The model's folder.
        created_utc: When its bundles will say they were made.
    """
    try:
        scan = Repository(folder.parent).scan_model(folder.name)
    except BasculeError as error:
        return _refused(folder.name, None, error.message)
    found = _refused(scan.model, None, scan.reason) if scan.reason else Survey()
    for failed in scan.failed:
        found += _refused(failed.model, failed.version, failed.reason)
    for spec in scan.versions:
        try:
            found += Survey(candidates=(_candidate(folder, scan, spec, created_utc),))
        except (BasculeError, OSError) as error:
            reason = error.message if isinstance(error, BasculeError) else str(error)
            found += _refused(spec.model, spec.version, reason)
    return found


def _candidate(
    folder: Path, scan: ModelScan, spec: VersionSpec, created_utc: datetime
) -> Candidate:
    if spec.policy.ensemble:
        raise UnsupportedError(NO_BUNDLE)
    version_folder = folder / str(spec.version)
    model_file = Path(spec.file)
    named = label_files(spec.config_text, spec.model)
    labels = [inner_file(folder, name) for name in named]
    missing = [path for path in labels if not path.is_file()]
    files = [inner_file(folder, path) for path in _files(folder, version_folder)]
    data = shared_data(spec.config_text, spec.model)
    order = PackOrder(
        model_file=inner_file(folder, str(model_file.relative_to(folder))),
        name=spec.model,
        version=spec.version,
        created_utc=created_utc,
        config=spec.config_text,
        extra_files=tuple(path for path in (*files, *labels) if path not in (model_file, *missing)),
        placed_files={path: inner_file(folder, path) for path in data},
    )
    losses = (
        *without_effect(spec.config_text, spec.model),
        *(f"{path.name}: the configuration names it and it does not exist" for path in missing),
        *_left_behind(folder, scan, {path.partition("/")[0] for path in (*named, *data)}),
    )
    return Candidate(order=order, losses=losses)


def _files(folder: Path, version_folder: Path) -> Iterator[str]:
    """Every file of a version, by its path in the model's folder; a linked folder is refused."""
    for path in sorted(version_folder.rglob("*")):
        inner = path.relative_to(folder)
        if any(part.startswith(".") for part in inner.parts):
            continue
        if path.is_dir():
            if path.is_symlink():
                raise InvalidArgumentError(f"{path} is a linked folder: put a copy in its place")
            continue
        yield str(inner)


def _left_behind(folder: Path, scan: ModelScan, labels: set[str]) -> Iterator[str]:
    """Say what in a model's folder belongs to no version that is imported."""
    chosen = {str(one.version) for one in scan.versions}
    chosen |= {str(one.version) for one in scan.failed}
    for item in sorted(folder.iterdir()):
        if item.name == CONFIG_FILE or item.name in labels or item.name.startswith("."):
            continue
        if _is_number(item.name) and item.is_dir():
            if item.name not in chosen:
                yield f"version {item.name}: version_policy does not choose it"
        else:
            yield f"{item.name}: not imported, it belongs to no version"


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and not name.startswith("0")


def _refused(model: str, version: int | None, reason: str) -> Survey:
    return Survey(refusals=(Refusal(model=model, version=version, reason=reason),))
