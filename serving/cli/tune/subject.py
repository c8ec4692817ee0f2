"""What is tuned: a version of the registry, a bundle, or a model's folder in Triton's layout.

It also says how a copy that runs in another way is put before `bascule serve`.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.cli.exporting import source_bundle
from serving.errors import NotFoundError
from serving.registry.bundles.bundle import Bundle
from serving.registry.bundles.manifest import MANIFEST_FILE
from serving.registry.bundles.revising import Revision, revise
from serving.registry.formats import format_named
from serving.registry.model_config.config_file import read_config
from serving.registry.model_config.parsing import parse_config
from serving.registry.model_config.scheduling import Scheduling, with_scheduling
from serving.registry.repository import CONFIG_FILE
from serving.registry.version import ServingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model to tune."""

    model: str
    version: int
    """0: a model's folder, whose configuration is that of all its versions."""
    config: str
    policy: ServingPolicy
    max_rows: int
    """Rows of a batch; 0: calls are not joined, or nobody said so."""
    folder: Path
    bundle: Bundle | None
    """None: a model's folder."""

    def config_with(self, wanted: Scheduling) -> str:
        """Return its configuration, run in another way."""
        return with_scheduling(self.config, self.model, wanted)

    def put(self, wanted: Scheduling, place: Path) -> Sequence[str]:
        """Write a copy that runs in another way; return the arguments that serve it."""
        config = self.config_with(wanted)
        if self.bundle is None:
            models = place / "models"
            shutil.copytree(self.folder, models / self.model)
            file = models / self.model / CONFIG_FILE
            file.unlink(missing_ok=True)
            file.write_text(config, encoding="utf-8")
            return ("--model-repository", str(models))
        manifest = self.bundle.manifest
        change = Revision(
            version=manifest.version,
            config=config,
            created_utc=manifest.created_utc,
            parent=manifest.lineage.parent,
        )
        return (str(revise(self.bundle, change, place / "bundle").folder),)


def subject_of(target: str, *, gpu: bool) -> Subject:
    """Return what a person named.

    Raises:
        NotFoundError: There is no such version, bundle or folder.
        InvalidArgumentError: It is a model file, or its configuration is wrong.
        UnsupportedError: It is a model that this cannot be done with.
    """
    path = Path(target)
    if path.is_file():
        raise InvalidArgumentError(
            f"{target} is a file: bascule push {target} makes a version of it, which can be tuned"
        )
    if "/" in target and not path.exists():  # no name of a model has one
        raise NotFoundError(f"there is no folder {target}")
    is_bundle = not path.is_dir() or (path / MANIFEST_FILE).exists()
    return _checked(_of_bundle(target, gpu=gpu) if is_bundle else _of_folder(path, gpu=gpu))


def _of_bundle(target: str, *, gpu: bool) -> Subject:
    bundle = source_bundle(target)
    manifest = bundle.manifest
    if format_named(manifest.format).runs_code:
        raise UnsupportedError(
            f"{manifest.name}:{manifest.version} is of format {manifest.format}, which runs code "
            "of its author when it is loaded: copies without a signature are never loaded"
        )
    policy = parse_config(manifest.config, model=manifest.name, gpu=gpu).policy
    rows = policy.max_batch_rows if policy.max_batch_rows is not None else manifest.max_batch_rows
    return Subject(
        model=manifest.name,
        version=manifest.version,
        config=manifest.config,
        policy=policy,
        max_rows=rows or 0,
        folder=bundle.folder,
        bundle=bundle,
    )


def _of_folder(path: Path, *, gpu: bool) -> Subject:
    folder = path.absolute()
    if not any(inner.is_dir() and inner.name.isdecimal() for inner in folder.iterdir()):
        raise NotFoundError(
            f"{path} is no bundle (it holds no {MANIFEST_FILE}) and no model's folder (no 1/…)"
        )
    file = folder / CONFIG_FILE
    config = read_config(file) if file.exists() else ""
    policy = parse_config(config, model=folder.name, source=str(file), gpu=gpu).policy
    return Subject(
        model=folder.name,
        version=0,
        config=config,
        policy=policy,
        max_rows=policy.max_batch_rows or 0,
        folder=folder,
        bundle=None,
    )


def _checked(subject: Subject) -> Subject:
    if subject.policy.ensemble:
        raise UnsupportedError(f"{subject.model} is an ensemble: tune the models of its steps")
    if subject.policy.sequences is not None:
        raise UnsupportedError(
            f"{subject.model} takes calls in sequences, which one worker runs: there is nothing to "
            "choose between"
        )
    return subject
