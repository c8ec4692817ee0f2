"""Pure: which configured tensor is which argument or result of a TorchScript `forward`.

TorchScript knows its arguments' names and kinds, but no datatypes and no shapes, and its results
have no names. Triton's conventions fill the gap, and are kept here:

* an input is named as the argument is, or `<any>__<i>` for the i-th argument (`INPUT__0`);
* an output is named `<any>__<i>` for the i-th result (`OUTPUT__0`); if none is, order counts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import ModelLoadError

TENSORS: Final = frozenset({"Tensor", "Optional[Tensor]"})
_SIGNED = frozenset({Datatype.INT8, Datatype.INT16, Datatype.INT32, Datatype.INT64})
_UNSIGNED = frozenset({Datatype.UINT8, Datatype.UINT16, Datatype.UINT32, Datatype.UINT64})
SCALARS: Final[MappingProxyType[str, frozenset[Datatype]]] = MappingProxyType(
    {
        "int": _SIGNED | _UNSIGNED,
        "float": frozenset({Datatype.FP16, Datatype.BF16, Datatype.FP32, Datatype.FP64}),
        "bool": frozenset({Datatype.BOOL}),
    }
)
EXAMPLE_DATATYPES: Final = MappingProxyType({"int": "INT64", "bool": "BOOL"})
NUMBERED: Final = re.compile(r".+__(\d{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of `forward`, without `self`."""

    name: str
    kind: str
    """As TorchScript prints it: `Tensor`, `Optional[Tensor]`, `int`, `float`, `bool`, …"""
    has_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundInput:
    """A configured input and the argument that it feeds."""

    spec: TensorSpec
    position: int
    kind: str


def bind_inputs(
    arguments: Sequence[Argument], declared: Sequence[TensorSpec]
) -> tuple[BoundInput, ...]:
    """Find each configured input's argument; the result is in the order of `forward`.

    Raises:
        ModelLoadError: A name fits no argument, an argument is left without a value, or a datatype
            or kind does not fit.
    """
    bound: dict[int, BoundInput] = {}
    for spec in declared:
        position = _argument_of(spec.name, arguments)
        if position in bound:
            raise ModelLoadError(
                f"inputs '{bound[position].spec.name}' and '{spec.name}' both feed argument "
                f"'{arguments[position].name}' of forward: configure it once"
            )
        bound[position] = _bound(spec, position, arguments[position])
    for position, argument in enumerate(arguments):
        if position not in bound and not argument.has_default:
            raise ModelLoadError(
                f"forward needs argument '{argument.name}' ({argument.kind}), and the "
                f"configuration has no input for it: add '{argument.name}' or 'INPUT__{position}'"
            )
    return tuple(bound[position] for position in sorted(bound))


def bind_outputs(result_count: int | None, declared: Sequence[TensorSpec]) -> tuple[int, ...]:
    """Return the position among the results of each configured output.

    Args:
        result_count: How many tensors `forward` returns; None for a list, whose length only a
            run tells.
        declared: The configured outputs.

    Raises:
        ModelLoadError: An output is beyond the last result.
    """
    numbers = [NUMBERED.fullmatch(spec.name) for spec in declared]
    positions = [
        int(found[1]) if found is not None and all(numbers) else order
        for order, found in enumerate(numbers)
    ]
    for spec, position in zip(declared, positions, strict=True):
        if result_count is not None and position >= result_count:
            raise ModelLoadError(
                f"output '{spec.name}' stands for result {position}, and forward returns "
                f"{result_count} (counted from 0): name the outputs OUTPUT__0 to "
                f"OUTPUT__{result_count - 1}"
            )
        if spec.datatype is Datatype.BYTES:
            raise ModelLoadError(f"output '{spec.name}' is BYTES, and torch has no text tensors")
    return tuple(positions)


def config_to_write(arguments: Sequence[Argument], result_count: int | None) -> str:
    """Return the lists of tensors for config.pbtxt, as far as `forward` tells them.

    Names and number are those of the model; datatypes and dims of tensors are to be corrected.

    Args:
        arguments: Of `forward`. Those with a default may be left out, and are.
        result_count: How many tensors it returns; None: a run would tell.
    """
    return "\n".join(
        [*(_input_text(one) for one in arguments if not one.has_default), *_outputs(result_count)]
    )


def outputs_to_write(result_count: int | None) -> str:
    """Return the list of outputs for config.pbtxt, as far as `forward` tells them."""
    return "\n".join(_outputs(result_count))


def _input_text(argument: Argument) -> str:
    datatype = EXAMPLE_DATATYPES.get(argument.kind, "FP32")
    dims = "-1, -1" if argument.kind in TENSORS else "1"
    return f'input {{ name: "{argument.name}" data_type: TYPE_{datatype} dims: [ {dims} ] }}'


def _outputs(result_count: int | None) -> list[str]:
    return [
        f'output {{ name: "OUTPUT__{position}" data_type: TYPE_FP32 dims: [ -1, -1 ] }}'
        for position in range(1 if result_count is None else result_count)
    ]


def _argument_of(name: str, arguments: Sequence[Argument]) -> int:
    for position, argument in enumerate(arguments):
        if argument.name == name:
            return position
    numbered = NUMBERED.fullmatch(name)
    if numbered is not None and int(numbered[1]) < len(arguments):
        return int(numbered[1])
    known = ", ".join(argument.name for argument in arguments) or "none"
    raise ModelLoadError(
        f"input '{name}' fits no argument of forward, which are: {known}; name it as the argument, "
        "or INPUT__0, INPUT__1, … by position"
    )


def _bound(spec: TensorSpec, position: int, argument: Argument) -> BoundInput:
    if spec.datatype is Datatype.BYTES:
        raise ModelLoadError(f"input '{spec.name}' is BYTES, and torch has no text tensors")
    if argument.kind in SCALARS:
        if spec.datatype not in SCALARS[argument.kind] or spec.shape not in ((), (1,)):
            raise ModelLoadError(
                f"input '{spec.name}' feeds argument '{argument.name}' of forward, one "
                f"{argument.kind}: configure dims [ 1 ], max_batch_size 0 and a datatype of "
                f"{', '.join(sorted(SCALARS[argument.kind]))}; it says {spec.datatype} with shape "
                f"{list(spec.shape)}"
            )
    elif argument.kind not in TENSORS:
        raise ModelLoadError(
            f"argument '{argument.name}' of forward is {argument.kind}; only tensors and single "
            "int, float and bool values can be fed: wrap the module in one that takes those"
        )
    return BoundInput(spec=spec, position=position, kind=argument.kind)
