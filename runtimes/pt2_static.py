"""What a torch.export archive (`.pt2`) says of itself, read as a zip file: nothing is loaded.

::

    NAME/archive_format             `pt2`
    NAME/models/MODEL.json          graph, signature, schema version
    NAME/data/sample_inputs/….pt    pickles, which torch.export.load unpickles
    NAME/data/weights/…             weights
"""

import io
import json
import zipfile
from typing import Any, Final

from runtimes.model_facts import ExportedInput, Pt2Archive
from runtimes.pickle_scan import MAX_PICKLE_BYTES, foreign_imports
from runtimes.zip_limits import open_archive, read_member

MAX_MODEL_BYTES: Final = 256 << 20
MAX_TEXT_BYTES: Final = 64
TARGET: Final = "torch.ops."
_TARGET_PARTS: Final = 2


def read_pt2(archive: zipfile.ZipFile, prefix: str) -> Pt2Archive:
    """Read an archive whose format is `pt2`.

    Raises:
        ValueError: It is damaged, a member is too large, or it holds no model.
    """
    names = archive.namelist()
    models = sorted(
        name for name in names if name.startswith(f"{prefix}models/") and name.endswith(".json")
    )
    if not models:
        raise ValueError("it holds no model (models/….json)")
    model = _json(read_member(archive, models[0], MAX_MODEL_BYTES))
    pickles = [name for name in names if name.endswith((".pt", ".pkl", ".pth"))]
    imports = {one for name in pickles for one in _imports_of(archive, name)}
    version = read_member(archive, f"{prefix}archive_version", MAX_TEXT_BYTES).strip()
    return Pt2Archive(
        archive_version=int(version) if version.isdigit() else 0,
        schema_version=_schema(model),
        torch_version=str(model.get("torch_version", ""))[:40],
        inputs=tuple(_inputs(model)),
        operators=tuple(sorted(_operators(model))),
        pickles=tuple(name.removeprefix(prefix) for name in pickles),
        pickle_imports=tuple(sorted(imports)),
        weight_bytes=sum(
            item.file_size
            for item in archive.infolist()
            if item.filename.startswith((f"{prefix}data/weights/", f"{prefix}data/constants/"))
        ),
    )


def _json(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError("its model is no JSON") from error
    if not isinstance(found, dict):
        raise ValueError("its model is no JSON object")  # noqa: TRY004  a damaged file, not a type
    return found


def _schema(model: dict[str, Any]) -> tuple[int, int]:
    match model.get("schema_version"):
        case {"major": int(major), "minor": int(minor)}:
            return major, minor
        case _:
            pass
    raise ValueError("it states no schema version")


def _imports_of(archive: zipfile.ZipFile, name: str) -> tuple[str, ...]:
    """Look through a pickle, or through the pickle inside a torch.save archive."""
    raw = read_member(archive, name, MAX_PICKLE_BYTES)
    if not raw.startswith(b"PK"):
        return foreign_imports(raw) if raw else ()
    found: set[str] = set()
    with open_archive(io.BytesIO(raw)) as inner:
        for member in inner.namelist():
            if member.endswith(".pkl"):
                found.update(foreign_imports(read_member(inner, member, MAX_PICKLE_BYTES)))
    return tuple(found)


def _inputs(model: dict[str, Any]) -> list[ExportedInput]:
    """Read the inputs that callers give; a shape that cannot be read makes the file damaged."""
    try:
        module = model["graph_module"]
        values = module["graph"]["tensor_values"]
        names = [
            spec["user_input"]["arg"]["as_tensor"]["name"]
            for spec in module["signature"]["input_specs"]
            if "user_input" in spec and "as_tensor" in spec["user_input"]["arg"]
        ]
        return [
            ExportedInput(
                name=str(name)[:200],
                shape=tuple(int(size.get("as_int", -1)) for size in values[name]["sizes"]),
            )
            for name in names
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError("its graph's inputs cannot be read") from error


def _operators(model: dict[str, Any]) -> set[str]:
    try:
        targets = [str(node["target"]) for node in model["graph_module"]["graph"]["nodes"]]
    except (KeyError, TypeError) as error:
        raise ValueError("its graph's nodes cannot be read") from error
    found: set[str] = set()
    for target in targets:
        parts = target.removeprefix(TARGET).split(".")
        if target.startswith(TARGET) and len(parts) >= _TARGET_PARTS:
            found.add(f"{parts[0]}::{parts[1]}")
    return found
