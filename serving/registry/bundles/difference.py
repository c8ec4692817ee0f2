"""What differs between two versions, part by part, and what does not. Pure but for parsing.

Made from manifests alone, so that it needs no file of either version.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from runtimes.contract import TensorSpec
from serving.registry.bundles.compatibility import Change, changes
from serving.registry.bundles.manifest import Manifest, Tensor
from serving.registry.model_config.parsing import parse_config

ABSENT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One value that differs; `-` where a version has none."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a version; without differences it is the same in both."""

    name: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two versions side by side."""

    parts: tuple[Part, ...]
    contract: tuple[Change, ...] | None
    """What callers of the first notice with the second; None: a bundle does not say its tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredInterface:
    """What a manifest says that callers see."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_rows: int


def compare(before: Manifest, after: Manifest) -> Comparison:
    """Compare two manifests."""
    olds, news = _parts(before), _parts(after)
    parts = tuple(
        Part(name=name, differences=tuple(_differences(olds[name], news[name]))) for name in olds
    )
    one, other = declared_interface(before), declared_interface(after)
    contract = None if one is None or other is None else changes(one, other)
    return Comparison(parts=parts, contract=contract)


def declared_interface(manifest: Manifest) -> DeclaredInterface | None:
    """Return what callers see of a version, as its bundle says it; None: it does not."""
    policy = parse_config(manifest.config, model=manifest.name).policy
    rows = policy.max_batch_rows or 0
    if manifest.inputs or manifest.outputs:
        return DeclaredInterface(
            inputs=tuple(_spec(tensor) for tensor in manifest.inputs),
            outputs=tuple(_spec(tensor) for tensor in manifest.outputs),
            max_batch_rows=rows,
        )
    if not policy.inputs and not policy.outputs:
        return None
    return DeclaredInterface(
        inputs=tuple(_batched(spec, rows) for spec in policy.inputs),
        outputs=tuple(_batched(spec, rows) for spec in policy.outputs),
        max_batch_rows=rows,
    )


def _spec(tensor: Tensor) -> TensorSpec:
    return TensorSpec(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=tensor.shape,
        optional=tensor.optional,
    )


def _batched(spec: TensorSpec, rows: int) -> TensorSpec:
    shape = (-1, *spec.shape) if rows else spec.shape
    return TensorSpec(name=spec.name, datatype=spec.datatype, shape=shape, optional=spec.optional)


def _parts(manifest: Manifest) -> Mapping[str, Mapping[str, str]]:
    """Every part as field → value, in words."""
    values = manifest.model_dump(mode="json")
    lineage = dict(values["lineage"])
    metrics = lineage.pop("metrics")
    packed_on = dict(values["packed_on"])
    packages = packed_on.pop("packages")
    configured = parse_config(manifest.config, model=manifest.name)
    policy = {
        name: value
        for name, value in asdict(configured.policy).items()
        if name not in {"inputs", "outputs"}
    }
    return {
        "files": {file.path: _file_text(file.sha256, file.size_bytes) for file in manifest.files},
        "tensors": dict(_tensor_texts(manifest)),
        "policy": dict(_flat({**policy, "configuration": configured.text})),
        "requirements": dict(_flat(values["requirements"])),
        "environment": dict(_flat({**packed_on, "package": packages})),
        "lineage": dict(_flat(lineage)),
        "metrics": dict(_flat(metrics)),
        "golden samples": dict(_flat(values["golden"] or {})),
        "notes": dict(
            _flat({name: values[name] for name in ("format", "licence", "notes", "card_file")})
        ),
    }


def _tensor_texts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    interface = declared_interface(manifest)
    if interface is None:
        return
    for role, specs in (("input", interface.inputs), ("output", interface.outputs)):
        for spec in specs:
            dims = ",".join(str(size) for size in spec.shape)
            optional = " optional" if spec.optional else ""
            yield f"{role} {spec.name}", f"{spec.datatype}[{dims}]{optional}"


def _file_text(sha256: str, size_bytes: int) -> str:
    return f"sha256 {sha256[:12]}, {size_bytes} bytes"


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            if value:
                yield f"{prefix}{name}", ", ".join(str(item) for item in value)
        elif value not in {None, ""}:
            yield f"{prefix}{name}", str(value)


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Difference]:
    for field in _in_order(old, new):
        before, after = old.get(field, ABSENT), new.get(field, ABSENT)
        if before != after:
            yield Difference(field=field, before=before, after=after)


def _in_order(*mappings: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for mapping in mappings for name in mapping))
