"""Reads one model that MLflow saved, for import: its ONNX or TorchScript file becomes a bundle.

::

    MODEL/MLmodel              flavours, signature, which run made it
    MODEL/model.onnx …         flavour onnx, with its external data
    MODEL/data/model.pth       flavour pytorch: a pickle, unless it was saved from TorchScript
    MODEL/requirements.txt     becomes the lock file, as far as it pins

MLflow itself is not needed. A pickle is never opened: whoever wrote it can run code here.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from google.protobuf.text_encoding import CEscape

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import BasculeError, InvalidArgumentError, UnsupportedError
from serving.ids import model_name
from serving.registry.bundles.manifest import Lineage, require_inner_path
from serving.registry.bundles.packing import PackOrder
from serving.registry.bundles.pins import MAX_LOCK_BYTES, sift_pins
from serving.registry.formats import CODE_SUFFIXES, REFUSED_SUFFIXES
from serving.registry.interchange.imports import Candidate, Refusal, Survey, inner_file
from serving.registry.interchange.mlflow_model import SOURCE_PREFIX, MlflowModel, read_mlmodel

MLMODEL_FILE: Final = "MLmodel"
REQUIREMENTS_FILE: Final = "requirements.txt"
OWN_FILES: Final = frozenset({MLMODEL_FILE, REQUIREMENTS_FILE})
DESCRIPTIONS: Final = frozenset(
    {
        "conda.yaml",
        "python_env.yaml",
        "registered_model_meta",
        "input_example.json",
        "serving_input_example.json",
        "serving_input_payload.json",
        "pickle_module_info.txt",
    }
)
"""Files that MLflow writes for its own loaders."""
OWN_PACKAGES: Final = frozenset({"mlflow", "mlflow-skinny", "cloudpickle"})
"""What MLflow's own loaders need, and a served model does not."""
TORCHSCRIPT_MEMBERS: Final = ("constants.pkl", "code/")
UNWANTED: Final = frozenset(REFUSED_SUFFIXES) | CODE_SUFFIXES
"""What can run code when it is loaded, and is not the model that was chosen."""
MAX_ARCHIVE_MEMBERS: Final = 100_000
MAX_FILES: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowOrder:
    """What an MLmodel file does not say."""

    name: str
    """Empty: the folder's name."""
    version: int | None
    """None: unsaid, 1 until a registry chooses."""
    created_utc: datetime
    scratch: Path
    """Where files may be written that are packed later."""


def survey_mlflow(folder: Path, order: MlflowOrder) -> Survey:
    """Read one model; what cannot be imported is a refusal with the reason."""
    name = order.name or folder.name
    try:
        return Survey(candidates=(_candidate(folder, order),))
    except (BasculeError, OSError) as error:
        reason = error.message if isinstance(error, BasculeError) else str(error)
        return Survey(refusals=(Refusal(model=name, version=order.version, reason=reason),))


def _candidate(folder: Path, order: MlflowOrder) -> Candidate:
    name = _name(folder, order.name)
    scratch = order.scratch / f"mlflow-{name}"
    scratch.mkdir(parents=True)
    model = read_mlmodel(inner_file(folder, MLMODEL_FILE))
    model_file = _model_file(folder, model)
    losses = list(model.losses)
    lock_file = _lock_file(folder, scratch, losses)
    extras = tuple(_extras(folder, model_file, losses))
    config = "" if model.flavour == "onnx" else _config(model)
    if model_file.suffix == ".pth":  # its content is TorchScript, whatever its name says
        renamed = scratch / "model.pt"
        renamed.symlink_to(model_file.resolve())
        model_file = renamed
    packed = PackOrder(
        model_file=model_file,
        name=name,
        version=order.version or 1,
        created_utc=order.created_utc,
        config=config,
        extra_files=extras,
        lock_file=lock_file,
        lineage=Lineage(
            run_id=model.run_id,
            source_id=f"{SOURCE_PREFIX}{model.model_id}" if model.model_id else "",
            source_created_utc=model.created_utc,
        ),
    )
    is_numbered = order.version is not None
    return Candidate(
        order=packed,
        losses=tuple(losses),
        is_numbered=is_numbered,
        declared=(*model.inputs, *model.outputs) if model.flavour == "onnx" else (),
    )


def _name(folder: Path, name: str) -> str:
    if not name and folder.name in {"model", "artifacts"}:
        raise InvalidArgumentError(f"{folder} needs a name to be served under: add --name NAME")
    return model_name(name or folder.name)


def _model_file(folder: Path, model: MlflowModel) -> Path:
    if model.flavour == "onnx":
        file = _named_file(folder, model.data)
        # Saved by releases that keep a folder for the flavour's files.
        file = file / "model.onnx" if file.is_dir() else file
        if not file.is_file():
            raise InvalidArgumentError(f"{folder} has no {model.data}, which its MLmodel names")
        return inner_file(folder, str(file.relative_to(folder)))
    if model.flavour == "pytorch":
        return _torch_file(folder, _named_file(folder, model.data))
    said = ", ".join(model.flavours) or "none"
    raise UnsupportedError(
        f"its flavours are {said}: of MLflow's, onnx is served, and pytorch where it was saved as "
        "TorchScript: log the model with mlflow.onnx"
    )


def _named_file(folder: Path, path: str) -> Path:
    try:
        return inner_file(folder, require_inner_path(path))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(
            f"{MLMODEL_FILE} names '{path[:80]}': {error.message}"
        ) from error


def _torch_file(folder: Path, data: Path) -> Path:
    """Find the TorchScript archive of a flavour that mostly holds a pickle."""
    place = data if data.is_dir() else data.parent
    files = sorted(path for path in place.iterdir() if path.suffix in {".pt", ".pth", ".pt2"})
    for file in files:
        found = inner_file(folder, str(file.relative_to(folder)))
        if file.suffix == ".pt2" or is_torchscript(found):
            return found
    held = ", ".join(file.name for file in files) or "no model"
    raise UnsupportedError(
        f"its pytorch flavour holds {held}, which is a pickle, and a pickle runs code of its "
        "author when it is loaded: log the model with mlflow.onnx, or log torch.jit.script(model)"
    )


def is_torchscript(file: Path) -> bool:
    """Whether a file is a TorchScript archive, told from its list of contents alone."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()[:MAX_ARCHIVE_MEMBERS]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    inner = [name.partition("/")[2] for name in names]
    return all(any(name.startswith(member) for name in inner) for member in TORCHSCRIPT_MEMBERS)


def _lock_file(folder: Path, scratch: Path, losses: list[str]) -> Path | None:
    """Write what requirements.txt pins to a lock file; tell what it leaves open."""
    path = inner_file(folder, REQUIREMENTS_FILE)
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        text = stream.read(MAX_LOCK_BYTES + 1).decode(errors="replace")
    sifted = sift_pins(text, str(path))
    losses += [f"{REQUIREMENTS_FILE} {text}" for text in sifted.refused]
    kept = [pin for pin in sifted.pins if pin.name not in OWN_PACKAGES]
    losses += [
        f"{REQUIREMENTS_FILE} line {pin.line}: {pin.name} is for MLflow's own loaders"
        for pin in sifted.pins
        if pin.name in OWN_PACKAGES
    ]
    if not kept:
        return None
    lock = scratch / "lock.txt"
    lock.write_text("".join(f"{pin.text()}\n" for pin in kept), encoding="utf-8")
    return lock


def _extras(folder: Path, model_file: Path, losses: list[str]) -> Iterator[Path]:
    """Yield what may belong to the model: external data lies beside it, under any name."""
    beside = model_file.parent
    for count, path in enumerate(sorted(folder.rglob("*"))):
        if count > MAX_FILES:
            raise InvalidArgumentError(f"{folder} holds more than {MAX_FILES} files")
        inner = path.relative_to(folder).as_posix()
        if path == model_file or inner in OWN_FILES or path.is_dir():
            continue
        is_beside = path.is_relative_to(beside) and not path.name.startswith(".")
        if is_beside and path.name not in DESCRIPTIONS and path.suffix not in UNWANTED:
            yield inner_file(folder, inner)
        else:
            losses.append(f"{inner}: not imported")


def _config(model: MlflowModel) -> str:
    """Write the signature as a configuration: TorchScript does not say its tensors by itself."""
    tensors = [_tensor_text("input", spec) for spec in model.inputs]
    tensors += [_tensor_text("output", spec) for spec in model.outputs]
    return "".join(f"{text}\n" for text in tensors)


def _tensor_text(role: str, spec: TensorSpec) -> str:
    kind = "STRING" if spec.datatype is Datatype.BYTES else spec.datatype.value
    name = CEscape(spec.name.encode(), as_utf8=False)
    dims = ", ".join(str(size) for size in spec.shape)
    return f'{role} {{ name: "{name}" data_type: TYPE_{kind} dims: [ {dims} ] }}'
