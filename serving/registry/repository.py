"""A folder of models in Triton's layout, read into versions: MODEL/VERSION/model.onnx|model.pt.

::

    MODEL/config.pbtxt     optional
    MODEL/VERSION/…        VERSION is a positive number without leading zeros; other folders and
                           names that begin with a dot are left alone

One bad model never hides another: each has its own result, with the reason why nothing of it, or
of a version, can be served. File contents are not read; a changed size or time is a change.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import MappingProxyType

from runtimes.errors import BasculeError, InvalidArgumentError, UnsupportedError
from serving.errors import NotFoundError
from serving.ids import model_name
from serving.registry.contracts.data_contract import DataContract
from serving.registry.contracts.kept_contract import CONTRACT_FILE, KnownContracts
from serving.registry.formats import (
    CODE_SUFFIXES,
    FORMATS,
    REFUSED_SUFFIXES,
    SUPPORTED,
    ModelFormat,
    format_named,
    format_of_plain_file,
)
from serving.registry.model_config.config_file import read_config
from serving.registry.model_config.ensembles import FORMAT as ENSEMBLE
from serving.registry.model_config.parsing import ModelConfiguration, VersionChoice, parse_config
from serving.registry.repository_files import (
    RepositoryFile,
    digest_of_files,
    files_of,
    is_folder,
    require_utf8,
    shared_files,
    version_numbers,
)
from serving.registry.stored_version import REFERENCE_FILE
from serving.registry.version import VersionSpec

CONFIG_FILE = "config.pbtxt"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedVersion:
    """A version that cannot be served, and why."""

    model: str
    version: int
    reason: str
    is_passing: bool = False
    """It could not be looked at for now: the next look may find it in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScan:
    """What the repository says of one model."""

    model: str
    versions: tuple[VersionSpec, ...] = ()
    """What its version policy chooses, rising."""
    failed: tuple[FailedVersion, ...] = ()
    """Chosen versions that cannot be served, rising."""
    reason: str = ""
    """Why there is no version at all, not even a failed one; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryScan:
    """What the repository holds at one moment."""

    models: Mapping[str, ModelScan] = field(default_factory=lambda: MappingProxyType({}))
    problems: tuple[str, ...] = ()
    """Folders that cannot be models, with the reason: for the log."""


@dataclass(frozen=True, slots=True)
class _CachedConfig:
    stamp: tuple[int, int, int]
    """Size, time and inode of the file that was read."""
    result: ModelConfiguration | BasculeError


class Repository:
    """One folder of models. Blocking; one caller at a time. Keeps the configurations it read."""

    def __init__(self, root: Path, *, gpu: bool = False) -> None:
        """Remember the folder.

        Args:
            root: The folder that holds the models' folders.
            gpu: The node's engines can use a GPU.
        """
        self._root = root.absolute()
        self._gpu = gpu
        self._configs: dict[str, _CachedConfig] = {}
        self._contracts = KnownContracts()

    def scan(self) -> RepositoryScan:
        """Read the whole folder.

        Raises:
            NotFoundError: The folder does not exist.
            InvalidArgumentError: It is no folder, or cannot be read.
        """
        models: dict[str, ModelScan] = {}
        problems: list[str] = []
        for entry in self._folders():
            problem = _name_problem(entry.name)
            if problem:
                problems.append(f"{entry.path!r} is not served: {problem}")
                continue
            models[entry.name] = self._scan_model(entry.name)
        for gone in self._configs.keys() - models.keys():
            del self._configs[gone]
        return RepositoryScan(models=MappingProxyType(models), problems=tuple(problems))

    def scan_model(self, model: str, *, config_text: str | None = None) -> ModelScan:
        """Read one model's folder.

        Args:
            model: Its name.
            config_text: Taken in place of its configuration.

        Raises:
            NotFoundError: There is no such folder.
        """
        if not (self._root / model_name(model)).is_dir():
            raise NotFoundError(f"model '{model}' is not found in repository {self._root}")
        return self._scan_model(model, config_text)

    def model_names(self) -> frozenset[str]:
        """Return the names of all models, loadable or not.

        Raises:
            NotFoundError: The repository's folder does not exist.
            InvalidArgumentError: It is no folder, or cannot be read.
        """
        return frozenset(entry.name for entry in self._folders() if not _name_problem(entry.name))

    def _folders(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._root) as entries:
                found = [item for item in entries if item.name[0] != "." and is_folder(item)]
        except FileNotFoundError as error:
            raise NotFoundError(
                f"model repository {self._root} does not exist: name a folder of models by "
                "--model-repository or BASCULE_MODEL_REPOSITORY"
            ) from error
        except OSError as error:
            raise InvalidArgumentError(
                f"model repository {self._root} cannot be read: {error.strerror}"
            ) from error
        return sorted(found, key=lambda item: item.name)

    def _scan_model(self, model: str, config_text: str | None = None) -> ModelScan:
        folder = self._root / model
        try:
            existing = version_numbers(folder)
        except OSError as error:
            return ModelScan(model=model, reason=f"{model} cannot be read: {error.strerror}")
        try:
            config = self._config(model) if config_text is None else self._other(model, config_text)
        except BasculeError as error:
            config = ModelConfiguration()
            broken = self._told(error)
        else:
            broken = ""
        chosen = _chosen(existing, config.versions)
        if not chosen:
            return ModelScan(model=model, reason=broken or _no_version(folder))
        versions: list[VersionSpec] = []
        failed: list[FailedVersion] = []
        for number in chosen:
            try:
                if broken:
                    raise InvalidArgumentError(broken)
                versions.append(self._version(model, number, config))
            except BasculeError as error:
                failed.append(FailedVersion(model=model, version=number, reason=self._told(error)))
        return ModelScan(model=model, versions=tuple(versions), failed=tuple(failed))

    def _told(self, error: BasculeError) -> str:
        """What callers may read: paths begin in the repository."""
        return error.message.replace(f"{self._root}/", "")

    def _other(self, model: str, text: str) -> ModelConfiguration:
        return parse_config(text, model=model, source="parameter 'config'", gpu=self._gpu)

    def _config(self, model: str) -> ModelConfiguration:
        path = self._root / model / CONFIG_FILE
        try:
            status = path.stat()
            stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
            known = self._configs.get(model)
            if known is None or known.stamp != stamp:
                known = _CachedConfig(stamp, self._parsed(path, model))
                self._configs[model] = known
        except FileNotFoundError:
            self._configs.pop(model, None)
            return parse_config("", model=model, gpu=self._gpu)
        except OSError as error:
            raise InvalidArgumentError(f"{path} cannot be read: {error}") from error
        if isinstance(known.result, BasculeError):
            raise known.result
        return known.result

    def _parsed(self, path: Path, model: str) -> ModelConfiguration | BasculeError:
        try:
            return parse_config(read_config(path), model=model, source=str(path), gpu=self._gpu)
        except BasculeError as error:
            return error.with_traceback(None)

    def _version(self, model: str, number: int, config: ModelConfiguration) -> VersionSpec:
        folder = self._root / model / str(number)
        try:
            files = tuple(files_of(folder))
        except FileNotFoundError as error:
            raise NotFoundError(
                f"version {number} is asked for by version_policy and {folder} does not exist"
            ) from error
        except OSError as error:
            raise InvalidArgumentError(f"{folder} cannot be read: {error.strerror}") from error
        for path in (str(folder), *(item.path for item in files)):
            require_utf8(path)
        file, kind = folder / ENSEMBLE, ENSEMBLE  # stands for a file: an ensemble has none
        if not config.policy.ensemble:
            model_file, found = _model_file(folder, files, config)
            file, kind = folder / model_file, found.name
        shared = tuple(shared_files(self._root / model, config))
        return VersionSpec(
            model=model,
            version=number,
            file=str(file),
            format=kind,
            size_bytes=sum(item.size_bytes for item in files),
            digest=digest_of_files((*files, *shared), config.text),
            origin=f"repository {self._root}",
            policy=config.policy,
            config_text=config.text,
            contract=self._contract(folder, (*files, *shared)),
            reference=_reference(folder, (*files, *shared)),
        )

    def _contract(self, folder: Path, files: tuple[RepositoryFile, ...]) -> DataContract | None:
        """Return the contract in the version's folder, else the one that its versions share."""
        there = {item.path for item in files}
        for path in (CONTRACT_FILE, f"../{CONTRACT_FILE}"):
            if path in there:
                try:
                    return self._contracts.read(folder / path)
                except InvalidArgumentError as error:
                    raise InvalidArgumentError(f"BP-D01 contract: {error.message}") from error
        return None


def _name_problem(name: str) -> str:
    try:
        model_name(name)
    except InvalidArgumentError as error:
        return error.message
    return ""


def _no_version(folder: Path) -> str:
    """Say what to do about a model's folder without versions; it may be a version itself."""
    model = folder.name
    put = f"put the model at {model}/1/model.onnx or model.pt"
    suffixes = tuple(item.suffix for item in FORMATS)
    if model.isdecimal() and any(item.name.endswith(suffixes) for item in folder.iterdir()):
        whole = folder.parent.name
        return (
            f"{model} holds no version: '{whole}' looks like one model, not like a folder of "
            f"models: give the folder that holds '{whole}', or {put}"
        )
    return f"{model} holds no version: {put}"


def _chosen(existing: tuple[int, ...], choice: VersionChoice) -> tuple[int, ...]:
    if choice.specific:
        return choice.specific
    return existing if choice.latest is None else existing[-choice.latest :]


def _reference(folder: Path, files: tuple[RepositoryFile, ...]) -> str:
    """Return where drift's reference lies: in the version's folder, else beside it."""
    there = {item.path for item in files}
    for path in (REFERENCE_FILE, f"../{REFERENCE_FILE}"):
        if path in there:
            return str((folder / path).resolve())
    return ""


def _model_file(
    folder: Path, files: tuple[RepositoryFile, ...], config: ModelConfiguration
) -> tuple[str, ModelFormat]:
    names = [item.path for item in files if "/" not in item.path]
    wanted = format_named(config.format) if config.format else None
    if config.model_file or wanted is not None:
        name = config.model_file or (wanted.default_file if wanted else "")
        if name not in names:
            raise NotFoundError(_missing(folder, name, names))
        if PurePath(name).suffix.lower() in CODE_SUFFIXES:
            return name, format_of_plain_file(name)
        return name, wanted or format_of_plain_file(name)
    plain = [item for item in FORMATS if not item.runs_code]
    candidates = [item.default_file for item in plain if item.default_file in names]
    suffixes = tuple(item.suffix for item in plain)
    candidates = candidates or [name for name in names if name.lower().endswith(suffixes)]
    if len(candidates) == 1:
        return candidates[0], format_of_plain_file(candidates[0])
    if candidates:
        raise InvalidArgumentError(
            f"{folder} holds {', '.join(sorted(candidates)[:5])}: name one as "
            f"default_model_filename in {CONFIG_FILE}"
        )
    raise NotFoundError(_missing(folder, "a model file", names))


def _missing(folder: Path, wanted: str, names: list[str]) -> str:
    for name in sorted(names):
        if Path(name).suffix.lower() in {*REFUSED_SUFFIXES, *CODE_SUFFIXES}:
            try:
                format_of_plain_file(name)
            except UnsupportedError as error:
                return f"{folder}: {error.message}"
    held = ", ".join(sorted(names)[:5]) or "no file"
    return f"{folder} holds {held}, and not {wanted}: {SUPPORTED}"
