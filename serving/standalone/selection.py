"""What was named on the command line: files, folders, bundles, registry models. Blocking."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError
from serving.ids import model_name
from serving.registry.aliases import named_version
from serving.registry.bundles.manifest import MANIFEST_FILE
from serving.registry.formats import format_of_plain_file
from serving.registry.model_config.parsing import parse_config
from serving.registry.people import current_user
from serving.registry.repository import Repository
from serving.registry.store import Registry
from serving.registry.version import VersionSpec
from serving.rollout.sources import Selection
from serving.settings import Settings


def select(names: Sequence[str], settings: Settings, registry: Registry, *, gpu: bool) -> Selection:
    """Find out what each word means: an existing path, or a model of the registry.

    With words, only what they name is taken from the registry; without, whatever is wanted there.
    A bundle is pushed to the registry first: it is served from there.

    Raises:
        NotFoundError: It is neither.
        InvalidArgumentError: It cannot be served.
    """
    files: list[VersionSpec] = []
    chosen: dict[str, int | None] = {}
    for name in names:
        path = Path(name)
        if (path / MANIFEST_FILE).is_file():
            pushed = registry.push(path, current_user())
            chosen[pushed.model] = pushed.version
        elif path.is_dir():
            files += _folder_versions(path, gpu=gpu)
        elif path.is_file():
            files.append(file_version(path, gpu=gpu))
        else:
            chosen |= _registered(name, registry)
    return Selection(
        mode=settings.model_control_mode,
        load_model=settings.load_model,
        registry_versions=chosen if names else None,
        files=tuple(files),
    )


def file_version(path: Path, *, gpu: bool) -> VersionSpec:
    """Describe one model file: MODEL/VERSION/model.onnx, or NAME.onnx as version 1 of NAME.

    Raises:
        InvalidArgumentError: Its name cannot be a model's.
        UnsupportedError: It is of no known format.
    """
    path = path.absolute()
    folder = path.parent
    is_layout = folder.name.isdecimal() and int(folder.name) > 0
    model = model_name(folder.parent.name if is_layout else path.stem)
    status = path.stat()
    stamp = f"{path}\0{status.st_size}\0{status.st_mtime_ns}"
    config = parse_config("", model=model, gpu=gpu)
    return VersionSpec(
        model=model,
        version=int(folder.name) if is_layout else 1,
        file=str(path),
        format=format_of_plain_file(path.name).name,
        size_bytes=status.st_size,
        digest=hashlib.sha256(stamp.encode("utf-8", "surrogatepass")).hexdigest(),
        origin=f"file {path}",
        policy=config.policy,
        config_text=config.text,
    )


def _folder_versions(path: Path, *, gpu: bool) -> tuple[VersionSpec, ...]:
    path = path.absolute()
    scan = Repository(path.parent, gpu=gpu).scan_model(path.name)
    problems = [f"version {one.version}: {one.reason}" for one in scan.failed]
    if problems or not scan.versions:
        raise InvalidArgumentError(
            f"{path} is neither a bundle nor a model folder that can be served: "
            f"{'; '.join(problems) or scan.reason}; a folder of many models is given with "
            "--model-repository"
        )
    return scan.versions


def _registered(name: str, registry: Registry) -> dict[str, int | None]:
    if ":" in name or ("@" in name and name not in registry.models()):
        key = named_version(registry, name)
        model, version = key.model, key.version
        is_there = any(item.version == version for item in registry.versions(model))
    else:
        model, version = name, None
        is_there = name in registry.models()
    if not is_there:
        raise NotFoundError(
            f"'{name}' is neither a file nor a model of the registry: give the path of a model "
            "file or bundle, or push it first with `bascule push`"
        )
    if version is not None:
        registry.want(model, version, "serve")
    return {model: version}
