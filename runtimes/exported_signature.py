"""What an exported program takes and gives, as tensor specs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ConstantArgument,
    InputKind,
    OutputKind,
    TensorArgument,
)

from runtimes.contract import TensorSpec
from runtimes.errors import ModelLoadError
from runtimes.torch_schema import Argument, BoundInput, bind_inputs, bind_outputs
from runtimes.torch_tensors import DATATYPES

TENSOR: Final = "Tensor"


def user_inputs(program: ExportedProgram) -> list[Any]:
    """Return what callers give, in order: torch's records of tensors, constants and others."""
    specs = program.graph_signature.input_specs
    return [spec.arg for spec in specs if spec.kind is InputKind.USER_INPUT]


def user_outputs(program: ExportedProgram) -> list[Any]:
    """Return what callers get, in order, flattened."""
    specs = program.graph_signature.output_specs
    return [spec.arg for spec in specs if spec.kind is OutputKind.USER_OUTPUT]


def bound_inputs(
    program: ExportedProgram, declared: Sequence[TensorSpec]
) -> tuple[BoundInput, ...]:
    """Return the inputs with the positions of their arguments.

    Args:
        program: The program.
        declared: The configured inputs: they may rename arguments (`INPUT__0`), and say no more.

    Raises:
        ModelLoadError: An argument is no tensor, or the configuration fits none.
    """
    specs: dict[int, TensorSpec] = {}
    arguments = []
    for position, argument in enumerate(user_inputs(program)):
        if isinstance(argument, TensorArgument):
            specs[position] = _spec(program, argument.name, argument.name, "input")
        elif not isinstance(argument, ConstantArgument):
            raise ModelLoadError(
                f"input '{argument.name}' of the exported program is a number, and only tensors "
                "can be fed: export a module that takes a tensor for it"
            )
        kind = TENSOR if position in specs else "a constant of the export"
        arguments.append(Argument(name=argument.name, kind=kind, has_default=position not in specs))
    if not declared:
        return tuple(
            BoundInput(spec=spec, position=position, kind=TENSOR)
            for position, spec in specs.items()
        )
    return tuple(
        replace(bound, spec=replace(specs[bound.position], name=bound.spec.name))
        for bound in bind_inputs(arguments, declared)
    )


def bound_outputs(
    program: ExportedProgram, declared: Sequence[TensorSpec]
) -> tuple[tuple[int, TensorSpec], ...]:
    """Return the outputs with the positions of their results among the tensors that come back.

    Raises:
        ModelLoadError: A datatype is not served, or the configuration has more than there are.
    """
    found = user_outputs(program)
    names = result_names(program, len(found))
    specs = [
        _spec(program, argument.name, name, "output")
        for name, argument in zip(names, found, strict=True)
        if isinstance(argument, TensorArgument)
    ]
    if not specs:
        raise ModelLoadError("the exported program returns no tensor: export one that does")
    if not declared:
        return tuple(enumerate(specs))
    by_name = {spec.name: position for position, spec in enumerate(specs)}
    if all(spec.name in by_name for spec in declared):
        return tuple((by_name[spec.name], specs[by_name[spec.name]]) for spec in declared)
    positions = bind_outputs(len(specs), declared)
    return tuple(
        (position, replace(specs[position], name=spec.name))
        for position, spec in zip(positions, declared, strict=True)
    )


def result_names(program: ExportedProgram, count: int) -> list[str]:
    """Return a name for each result: a dictionary's keys, or `OUTPUT__0`, …."""
    spec: Any = program.call_spec.out_spec
    if spec is not None and spec.type is dict and spec.num_leaves == len(spec.context) == count:
        return [str(key) for key in spec.context]
    return [f"OUTPUT__{position}" for position in range(count)]


def _spec(program: ExportedProgram, node_name: str, name: str, role: str) -> TensorSpec:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    value = values.get(node_name)
    if not isinstance(value, torch.Tensor):
        raise ModelLoadError(f"the exported program does not tell the shape of {role} '{name}'")
    datatype = DATATYPES.get(value.dtype)
    if datatype is None:
        raise ModelLoadError(
            f"{role} '{name}' of the exported program is {value.dtype}, which is not served: "
            "convert it inside the model"
        )
    sizes: Sequence[Any] = value.shape  # a free size is no int but a symbol
    shape = tuple(size if isinstance(size, int) else -1 for size in sizes)
    return TensorSpec(name=name, datatype=datatype, shape=shape)
