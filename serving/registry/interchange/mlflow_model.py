"""The MLmodel file of a model that MLflow saved: untrusted YAML becomes a checked record here.

Read is what an import can use; further keys are told by name. Anchors and aliases, with which a
small file can stand for a huge one, are refused: MLflow writes none.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.registry.bundles.manifest import MAX_RUN_ID, MAX_SOURCE_ID
from serving.registry.yaml_text import read_yaml

MAX_MLMODEL_BYTES: Final = 256 << 10
MAX_DEPTH: Final = 32
DATATYPES: Final = {
    "bool": Datatype.BOOL,
    "uint8": Datatype.UINT8,
    "uint16": Datatype.UINT16,
    "uint32": Datatype.UINT32,
    "uint64": Datatype.UINT64,
    "int8": Datatype.INT8,
    "int16": Datatype.INT16,
    "int32": Datatype.INT32,
    "int64": Datatype.INT64,
    "float16": Datatype.FP16,
    "float32": Datatype.FP32,
    "float64": Datatype.FP64,
    "object": Datatype.BYTES,
    "str": Datatype.BYTES,
}
"""numpy's names, as MLflow writes them."""
SOURCE_PREFIX: Final = "mlflow:"
"""What a bundle writes in front of MLflow's id of a model."""
UNNAMED: Final = {"inputs": "INPUT__{}", "outputs": "OUTPUT__{}"}

Text = Annotated[str, Field(max_length=400)]
RunId = Annotated[str, Field(max_length=MAX_RUN_ID)]
ModelId = Annotated[str, Field(max_length=MAX_SOURCE_ID - len(SOURCE_PREFIX))]


class _Open(BaseModel):
    """A mapping that may hold more than is read."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class _Onnx(_Open):
    data: Text


class _PyTorch(_Open):
    model_data: Text = "data"


class _Flavours(_Open):
    onnx: _Onnx | None = None
    pytorch: _PyTorch | None = None


class _Signature(_Open):
    inputs: str | None = None
    outputs: str | None = None


class _MLmodel(_Open):
    flavors: _Flavours
    signature: _Signature | None = None
    run_id: RunId | None = None
    model_uuid: ModelId | None = None
    model_id: ModelId | None = None
    mlflow_version: Text | None = None
    utc_time_created: Text | datetime | None = None


class _TensorSpec(_Open):
    dtype: Text
    shape: tuple[Annotated[int, Field(ge=-1, le=1 << 40)], ...] = Field(max_length=64, strict=False)


class _Column(_Open):
    type: Text | None = None
    name: Text | None = None
    tensor: _TensorSpec | None = Field(None, alias="tensor-spec")


_COLUMNS: Final = TypeAdapter(Annotated[tuple[_Column, ...], Field(max_length=1000, strict=False)])


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowModel:
    """What an MLmodel file says."""

    flavour: Literal["onnx", "pytorch", ""]
    """The one that is imported; empty: it has neither."""
    data: str
    """The flavour's file or folder, relative to the model's folder."""
    flavours: tuple[str, ...]
    """All of them."""
    inputs: tuple[TensorSpec, ...] = ()
    """The signature's tensors with full shapes; empty: it has none, or columns of a table."""
    outputs: tuple[TensorSpec, ...] = ()
    run_id: str = ""
    model_id: str = ""
    created_utc: datetime | None = None
    losses: tuple[str, ...] = ()
    """What it says and an import does not use."""


def read_mlmodel(file: Path) -> MlflowModel:
    """Read an MLmodel file.

    Raises:
        InvalidArgumentError: It is too large, no YAML, or no MLmodel.
    """
    with file.open("rb") as stream:
        raw = stream.read(MAX_MLMODEL_BYTES + 1)
    return parse_mlmodel(raw, str(file))


def parse_mlmodel(raw: bytes, source: str) -> MlflowModel:
    """Check and return what an MLmodel file says.

    Args:
        raw: Its bytes.
        source: What to call it in messages: a path.

    Raises:
        InvalidArgumentError: It is too large, no YAML, or no MLmodel.
    """
    if len(raw) > MAX_MLMODEL_BYTES:
        raise InvalidArgumentError(
            f"{source}: more than {MAX_MLMODEL_BYTES} bytes are too many for an MLmodel file"
        )
    try:
        _refuse_aliases(raw)
        found = _MLmodel.model_validate(read_yaml(raw))
    except ValidationError as error:
        raise InvalidArgumentError(f"{source}: {_first(error)}") from error
    except (yaml.YAMLError, InvalidArgumentError, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())[:200]
        raise InvalidArgumentError(f"{source}: no YAML that can be read: {text}") from error
    return _inner(found, source)


def _refuse_aliases(raw: bytes) -> None:
    depth = 0
    for event in yaml.parse(raw, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.YAMLError("it has an anchor or alias, which MLflow does not write")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} deep")


def _inner(found: _MLmodel, source: str) -> MlflowModel:
    losses: list[str] = []
    signature = found.signature or _Signature()
    inputs = _tensors(signature.inputs, "inputs", source, losses)
    outputs = _tensors(signature.outputs, "outputs", source, losses)
    flavours = found.flavors
    names = tuple(sorted({*flavours.model_fields_set, *(flavours.model_extra or {})}))
    chosen: Literal["onnx", "pytorch", ""] = ""
    data = ""
    if flavours.onnx is not None:
        chosen, data = "onnx", flavours.onnx.data
    elif flavours.pytorch is not None:
        chosen, data = "pytorch", flavours.pytorch.model_data
    losses += [f"flavour {name}: not imported" for name in names if name != chosen]
    losses += [
        f"MLmodel {key}: not used" for key in sorted(_more(found)) if key != "mlflow_version"
    ]
    return MlflowModel(
        flavour=chosen,
        data=data,
        flavours=names,
        inputs=inputs,
        outputs=outputs,
        run_id=found.run_id or "",
        model_id=found.model_uuid or found.model_id or "",
        created_utc=_utc(found.utc_time_created, source),
        losses=tuple(losses),
    )


def _more(found: _MLmodel) -> set[str]:
    """Keys that hold something, and that nothing here reads."""
    more = {key for key, value in (found.model_extra or {}).items() if value}
    if found.signature is not None:
        extra: Mapping[str, object] = found.signature.model_extra or {}
        more |= {f"signature.{key}" for key, value in extra.items() if value is not None}
    return more


def _tensors(text: str | None, role: str, source: str, losses: list[str]) -> tuple[TensorSpec, ...]:
    if text is None:
        return ()
    try:
        columns = _COLUMNS.validate_python(json.loads(text))
    except ValidationError as error:
        raise InvalidArgumentError(f"{source}: signature.{role}: {_first(error)}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{source}: signature.{role} is no JSON: {error}") from error
    specs = [_spec(column, UNNAMED[role].format(index)) for index, column in enumerate(columns)]
    known = tuple(spec for spec in specs if spec is not None)
    if len(known) < len(specs):
        losses.append(f"signature.{role}: not all of it are tensors of a datatype that is served")
        return ()
    return known


def _spec(column: _Column, default: str) -> TensorSpec | None:
    tensor = column.tensor
    datatype = DATATYPES.get(tensor.dtype) if tensor is not None else None
    if tensor is None or datatype is None or 0 in tensor.shape:
        return None
    return TensorSpec(name=column.name or default, datatype=datatype, shape=tensor.shape)


def _utc(value: str | datetime | None, source: str) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as error:
        raise InvalidArgumentError(
            f"{source}: utc_time_created '{str(value)[:40]}' is no time"
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "MLmodel"
    return f"{field}: {first['msg']}, got {str(first['input'])[:80]!r}"
