"""The model repository, and models as load requests describe them instead.

A request may bring another configuration, or files in place of the whole folder. Files are written
below one folder of the instance, each load's to a place of its own, since a version's files never
change. Blocking, and for one caller at a time.
"""

import shutil
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.edge.control import LoadOverride
from serving.registry.model_config.override import config_text_of_json
from serving.registry.repository import CONFIG_FILE, ModelScan, Repository, RepositoryScan
from serving.registry.version import VersionSpec
from serving.settings import Settings

FOLDER: Final = "overrides"
OFF: Final = (
    "a configuration or files sent with the request are not taken here: put them into the model's "
    "folder and load it without parameters, or start the server with --allow-load-overrides"
)


class OverridableRepository:
    """Implements `serving.rollout.source_ports.ModelFolder`."""

    def __init__(self, repository: Repository, root: Path | None, *, gpu: bool = False) -> None:
        """Remember the places.

        Args:
            repository: What is read without overrides.
            root: Where files of overrides are written; None: overrides are off.
            gpu: The node's engines can use a GPU.
        """
        self._repository = repository
        self._root = root
        self._gpu = gpu
        taken = (int(place.name) for place in self._places() if place.name.isdecimal())
        self._numbers = count(1 + max(taken, default=0))

    def scan(self) -> RepositoryScan:
        """Read the whole folder."""
        return self._repository.scan()

    def scan_model(self, model: str) -> ModelScan:
        """Read one model's folder."""
        return self._repository.scan_model(model)

    def model_names(self) -> frozenset[str]:
        """Return the names of all models, loadable or not."""
        return self._repository.model_names()

    def scan_override(self, model: str, override: LoadOverride) -> ModelScan:
        """Read one model as a load request describes it.

        Raises:
            UnsupportedError: Overrides are off.
            InvalidArgumentError: The configuration is none, or a file cannot be written.
            NotFoundError: The repository has no such model, and no files came along.
        """
        if self._root is None:
            raise UnsupportedError(OFF)
        text = config_text_of_json(override.config)
        if not override.files:
            return self._repository.scan_model(model, config_text=text)
        place = self._root / str(next(self._numbers))
        try:
            _write(place / model, {**override.files, CONFIG_FILE: text.encode()})
        except OSError as error:
            raise InvalidArgumentError(f"its files cannot be written: {error.strerror}") from error
        return Repository(place, gpu=self._gpu).scan_model(model)

    def keep_only(self, specs: Sequence[VersionSpec]) -> None:
        """Remove the files of every override that none of these versions lies in."""
        for place in self._places():
            if not any(Path(spec.file).is_relative_to(place) for spec in specs):
                shutil.rmtree(place, ignore_errors=True)

    def _places(self) -> Iterator[Path]:
        if self._root is not None and self._root.is_dir():
            yield from list(self._root.iterdir())


def repository_of(settings: Settings, *, gpu: bool) -> OverridableRepository | None:
    """Return the repository that the settings name, if they name one."""
    if settings.model_repository is None:
        return None
    root = settings.run_dir / FOLDER if settings.allow_load_overrides else None
    return OverridableRepository(Repository(settings.model_repository, gpu=gpu), root, gpu=gpu)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.write_bytes(content)
