"""What a model file says of itself, in lines for people; what it does not say is said, too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from runtimes.contract import TensorSpec
from runtimes.estimate import Estimate
from runtimes.model_facts import (
    ModelFacts,
    OnnxModel,
    PickledFile,
    Pt2Archive,
    TorchScriptArchive,
    UnreadableFile,
)
from serving.cli.render import size_text, tensor_text

SHOWN_OPERATORS: Final = 10
Line = tuple[str, str]
"""A label, and what stands behind it."""


def model_lines(facts: ModelFacts, *, tensors: bool) -> Iterator[Line]:
    """Tell what the model file says of itself."""
    match facts:
        case OnnxModel():
            yield from _onnx_lines(facts, tensors=tensors)
        case TorchScriptArchive():
            yield from _torchscript_lines(facts)
        case Pt2Archive():
            yield from _exported_lines(facts)
        case PickledFile():
            yield "warning", "it is a pickle or a checkpoint: nothing that is served"
        case UnreadableFile():
            yield "warning", f"it cannot be read: {facts.reason}"


def _torchscript_lines(facts: TorchScriptArchive) -> Iterator[Line]:
    yield "file format", f"TorchScript, version {facts.file_version}"
    yield "weights", size_text(facts.weight_bytes)
    yield "operators", "not listed by the format, but for those of other libraries"
    if facts.operators:
        yield "foreign ops", ", ".join(facts.operators)
    if facts.is_training:
        yield "warning", "a module of it was saved in training mode"


def _exported_lines(facts: Pt2Archive) -> Iterator[Line]:
    major, minor = facts.schema_version
    yield "file format", f"torch.export, schema {major}.{minor}, torch {facts.torch_version}"
    yield "weights", size_text(facts.weight_bytes)
    shown = ", ".join(facts.operators[:SHOWN_OPERATORS])
    more = len(facts.operators) - SHOWN_OPERATORS
    yield "operators", f"{shown or 'none'}{f', and {more} other kinds' if more > 0 else ''}"
    for item in facts.inputs:
        yield "input", f"{item.name} [{','.join(map(str, item.shape))}]"
    if facts.pickles:
        yield "warning", f"loading it unpickles {', '.join(facts.pickles[:3])}"


def _onnx_lines(facts: OnnxModel, *, tensors: bool) -> Iterator[Line]:
    if tensors:
        yield from (("input", _spec_text(spec, facts)) for spec in facts.inputs)
        yield from (("output", _spec_text(spec, facts)) for spec in facts.outputs)
    opsets = ", ".join(f"{name or 'ai.onnx'} {number}" for name, number in facts.opsets.items())
    yield "file format", f"ONNX IR {facts.ir_version}, opset {opsets}"
    if facts.producer:
        yield "producer", facts.producer
    shown = ", ".join(f"{use.name} {use.count}" for use in facts.operators[:SHOWN_OPERATORS])
    count = sum(use.count for use in facts.operators)
    more = len(facts.operators) - SHOWN_OPERATORS
    yield "operators", f"{count} nodes: {shown}{f', and {more} other kinds' if more > 0 else ''}"
    yield "weights", size_text(facts.weight_bytes)
    beside = sorted({item.location for item in facts.external})
    if beside:
        yield "external", ", ".join(beside)
    if facts.unknown_operators:
        yield "warning", f"unknown operators: {', '.join(map(str, facts.unknown_operators))}"


def _spec_text(spec: TensorSpec, facts: OnnxModel) -> str:
    odd = facts.unserved.get(spec.name)
    return tensor_text(spec) if odd is None else f"{spec.name}: {odd}, which is not served"


def estimate_of(facts: ModelFacts, file: Path, rows: int | None) -> Estimate:
    """Estimate the memory that a batch takes beside the weights.

    Args:
        facts: What the file says of itself.
        file: The file.
        rows: The largest batch; None or 0: one row.
    """
    if not isinstance(facts, OnnxModel):
        return Estimate(peak_bytes=None, note="this format does not tell the shapes of its tensors")
    from runtimes.onnx_memory import estimate_activations  # noqa: PLC0415  imports onnx

    return estimate_activations(file, rows or 1)


def estimate_text(found: Estimate) -> str:
    """Return an estimate for people."""
    if found.peak_bytes is None:
        return f"of a batch's memory: none ({found.note})"
    return f"{size_text(found.peak_bytes)} for a batch beside the weights ({found.note})"
