"""The model formats that are served, and their names in Triton's configuration and file layout."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from runtimes.errors import UnsupportedError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFormat:
    """One format: its name in `runtimes.catalogue`, and what Triton calls it."""

    name: str
    backend: str
    platform: str
    suffix: str
    runs_code: bool = False
    """Loading a file can run code of its author: served from signed, allow-listed bundles only."""

    @property
    def default_file(self) -> str:
        """The model file's name where nothing else is said."""
        return f"model{self.suffix}"


FORMATS: Final = (
    ModelFormat(name="onnx", backend="onnxruntime", platform="onnxruntime_onnx", suffix=".onnx"),
    ModelFormat(name="torchscript", backend="pytorch", platform="pytorch_libtorch", suffix=".pt"),
    ModelFormat(
        name="torch_export",
        backend="pytorch",
        platform="pytorch_export",
        suffix=".pt2",
        runs_code=True,
    ),
    ModelFormat(name="echo", backend="echo", platform="echo", suffix=".echo"),
)

CODE_SUFFIXES: Final = frozenset(item.suffix for item in FORMATS if item.runs_code)

SUPPORTED: Final = "supported are onnxruntime (model.onnx) and pytorch (model.pt, TorchScript)"

RUNS_CODE: Final = (
    "loading one can run code that it carries, so it is served from signed bundles only: sign it "
    "with bascule pack --sign, or export the model to ONNX or TorchScript"
)

# Suffixes that people bring, and why they are refused: each can run code of its author when loaded.
REFUSED_SUFFIXES: Final = {
    ".pkl": "a pickle runs code when it is loaded: export to ONNX",
    ".joblib": "a pickle runs code when it is loaded: export to ONNX",
    ".pth": "a checkpoint holds weights without the model, or a pickle: export to ONNX or "
    "TorchScript",
    ".py": "Python models are not served: export to ONNX or TorchScript",
    ".plan": "TensorRT engines are not served: bring the ONNX file that it was built from",
}


def format_of_backend(backend: str, platform: str) -> ModelFormat | None:
    """Return the format that a configuration names; None where it names neither.

    Raises:
        UnsupportedError: It names a backend or platform that is not served, or two that disagree.
    """
    found = None
    if backend:
        found = next((item for item in FORMATS if item.backend == backend), None)
        if found is None:
            raise UnsupportedError(f"backend '{backend[:60]}' is not served: {SUPPORTED}")
    if platform:
        named = next((item for item in FORMATS if item.platform == platform), None)
        if named is None:
            raise UnsupportedError(f"platform '{platform[:60]}' is not served: {SUPPORTED}")
        if found is not None and named is not found:
            raise UnsupportedError(f"backend '{backend}' does not serve platform '{platform}'")
        found = named
    return found


def format_of_file(file: str) -> ModelFormat:
    """Return the format that a model file's suffix stands for.

    Raises:
        UnsupportedError: No served format has that suffix; the message says what to do instead.
    """
    suffix = PurePath(file).suffix.lower()
    for item in FORMATS:
        if item.suffix == suffix:
            return item
    if suffix in REFUSED_SUFFIXES:
        raise UnsupportedError(f"'{PurePath(file).name}' is not served: {REFUSED_SUFFIXES[suffix]}")
    raise UnsupportedError(f"'{PurePath(file).name}' is no model file: {SUPPORTED}")


def format_of_plain_file(file: str) -> ModelFormat:
    """Return the format of a model file that is in no bundle, so that nobody vouches for it.

    Raises:
        UnsupportedError: No format has that suffix, or loading it can run code of its author.
    """
    found = format_of_file(file)
    if found.runs_code:
        raise UnsupportedError(
            f"'{PurePath(file).name}' is not served as a plain file: {RUNS_CODE}"
        )
    return found


def format_named(name: str) -> ModelFormat:
    """Return a format by its name in `runtimes.catalogue`.

    Raises:
        UnsupportedError: There is none of that name.
    """
    for item in FORMATS:
        if item.name == name:
            return item
    raise UnsupportedError(f"format '{name[:60]}' is not served: {SUPPORTED}")
