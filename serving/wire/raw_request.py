"""A request without JSON: the whole body is the one input of a one-input model."""

from math import prod

from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.wire.call import CallSpec
from serving.wire.input_checks import GivenInput
from serving.wire.tensors import ITEM_BYTES


def raw_input(spec: CallSpec, size: int) -> GivenInput:
    """Deduce the one input of a raw request from the number of its bytes.

    One free dimension is filled from the size; a batching model gets one row.

    Raises:
        InvalidArgumentError: The model has more inputs, or the shape cannot be deduced.
    """
    if len(spec.inputs) != 1:
        raise InvalidArgumentError(
            "Raw request must only have 1 input (found 1) to be deduced but got "
            f"{len(spec.inputs)} inputs in '{spec.model}' model configuration"
        )
    tensor = spec.inputs[0]
    shape = list(tensor.shape)
    if spec.max_batch_rows > 0:
        shape[0] = 1
    free = [axis for axis, dimension in enumerate(shape) if dimension < 0]
    if len(free) > 1:
        raise InvalidArgumentError(
            f"Raw request needs at most one free dimension, input '{tensor.name}' of model "
            f"'{spec.model}' has {len(free)}: send a JSON header with the shape"
        )
    if free:
        shape[free[0]] = 1
        unit = prod(shape) * ITEM_BYTES[tensor.datatype]
        shape[free[0]] = size // unit if unit else 1
    if tensor.datatype is Datatype.BYTES and prod(shape) != 1:
        raise InvalidArgumentError(
            f"Raw request can carry one BYTES element, input '{tensor.name}' of model "
            f"'{spec.model}' has {prod(shape)}: send a JSON header"
        )
    return GivenInput(tensor.name, tensor.datatype, tuple(shape))
