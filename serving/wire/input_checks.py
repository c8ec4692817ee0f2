"""Fast path. Do the inputs of a call fit the model? Both codecs ask here, and get the same texts.

The order is that of the Open Inference Protocol's reference server: number of inputs, their names
and equal batch, batch limit, then for each input datatype, shape and byte size. Texts are literal:
clients and their tests look at them. One file, although a long one: the order is one thing.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.wire.call import Array, CallSpec
from serving.wire.regions import RegionTensor
from serving.wire.request_limits import refuse_texts
from serving.wire.tensors import (
    ITEM_BYTES,
    Buffer,
    Tensor,
    check_bools,
    decode_strings,
    element_count,
    shape_text,
)

MAX_PLANS: Final = 128
_BATCH_NOTE: Final = (
    "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be "
    "prepended to each input shape. If you want to specify the full shape including the batch dim "
    "in your input dims config, try setting max_batch_size to zero. See the model configuration "
    "docs for more info on max_batch_size."
)
_LOOKED_AT: Final = frozenset({Datatype.BYTES, Datatype.BOOL})


class GivenInput(msgspec.Struct, frozen=True):
    """What a request says of one input."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


class InputPlan(msgspec.Struct, frozen=True):
    """Where the inputs of a request that fits go; the same for all requests of its form."""

    rows: int
    shapes: tuple[tuple[int, ...] | None, ...]
    stack_key: Any
    order: tuple[int, ...]
    """Position in the model of the n-th input of the request."""
    sizes: tuple[int, ...]
    """Bytes of the n-th input of the request; 0 for BYTES, which say it themselves."""
    given: tuple[GivenInput, ...]
    """In the order of the request."""

    def is_plain(self) -> bool:
        """Say whether there is one input, and nothing of it to check but its size."""
        return len(self.shapes) == len(self.given) == 1 and self.given[0].datatype not in _LOOKED_AT


class InputChecks:
    """The input checks of one version; keeps its verdicts on the forms of request it saw last."""

    def __init__(self, spec: CallSpec) -> None:
        """Index the tensors of `spec` by name."""
        self._spec = spec
        self._inputs = {tensor.name: index for index, tensor in enumerate(spec.inputs)}
        self._required = sum(not tensor.optional for tensor in spec.inputs)
        self._plans: dict[tuple[GivenInput, ...], InputPlan] = {}
        self._batched = spec.max_batch_rows > 0

    @property
    def model(self) -> str:
        """Whose inputs they are."""
        return self._spec.model

    def plan_inputs(self, given: Sequence[GivenInput], request_id: str) -> InputPlan:
        """Check names, datatypes and shapes.

        Args:
            given: In the order of the request, names unique (`refuse_duplicates`).
            request_id: For the message.

        Raises:
            InvalidArgumentError: They do not fit the model.
        """
        key = tuple(given)
        plan = self._plans.get(key)
        if plan is not None:
            return plan
        try:
            plan = self._plan_inputs(given)
        except InvalidArgumentError as error:
            raise with_request_id(error, request_id) from error
        if len(self._plans) >= MAX_PLANS:
            self._plans.clear()
        self._plans[key] = plan
        return plan

    def refuse_misfit(self, given: GivenInput) -> None:
        """Refuse a tensor that does not fit, before its elements are decoded.

        Raises:
            InvalidArgumentError: No input has its name, datatype and shape.
        """
        index = self._inputs.get(given.name)
        if index is None:
            raise self._unexpected(given.name)
        if self._batched:
            self._rows([given])
        self._fitting_shape(self._spec.inputs[index], given)

    def _plan_inputs(self, given: Sequence[GivenInput]) -> InputPlan:
        specs = self._spec.inputs
        order = self._order(given)
        rows = self._rows(given) if self._batched else 1
        shapes: list[tuple[int, ...] | None] = [None] * len(specs)
        sizes: list[int] = []
        for index, tensor in zip(order, given, strict=True):
            shape = self._fitting_shape(specs[index], tensor)
            count = element_count(shape, tensor.name)
            if tensor.datatype is Datatype.BYTES:
                refuse_texts(tensor.name, count)
            sizes.append(count * ITEM_BYTES[tensor.datatype])
            shapes[index] = shape
        key = self._stack_key(shapes)
        return InputPlan(rows, tuple(shapes), key, order, tuple(sizes), tuple(given))

    def _stack_key(self, shapes: Sequence[tuple[int, ...] | None]) -> Any:  # noqa: ANN401  any hashable
        if self._spec.padding is not None:
            shapes = self._spec.padding.bucketed(shapes, self._spec.model)
        return tuple([shape and shape[1:] for shape in shapes]) if self._batched else tuple(shapes)

    def take_tensors(
        self, plan: InputPlan, data: Sequence[Tensor], request_id: str
    ) -> tuple[Tensor | None, ...]:
        """Check byte sizes, decode BYTES, and put the tensors into the model's order.

        Args:
            plan: What `plan_inputs` gave.
            data: Per input, in the order of the request: raw bytes, or for BYTES possibly a
                finished object array.
            request_id: For the message.

        Raises:
            InvalidArgumentError: A size or a BYTES element does not fit.
        """
        try:
            return self._take_tensors(plan, data)
        except InvalidArgumentError as error:
            raise with_request_id(error, request_id) from error

    def _take_tensors(self, plan: InputPlan, data: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        tensors: list[Tensor | None] = [None] * len(plan.shapes)
        for index, size, raw, given in zip(plan.order, plan.sizes, data, plan.given, strict=True):
            if given.datatype is Datatype.BYTES:
                tensors[index] = self._strings(raw, plan.shapes[index] or (), given.name)
                continue
            if len(raw) != size:
                raise self._size_mismatch(given.name, size, len(raw))
            if given.datatype is Datatype.BOOL:
                check_bools(raw, given.name)
            tensors[index] = raw
        return tuple(tensors)

    def _strings(self, raw: Tensor, shape: tuple[int, ...], name: str) -> Array:
        if isinstance(raw, Buffer):
            return decode_strings(raw, shape, name=name, model=self._spec.model)
        return raw.reshape(shape)

    def read_regions(
        self, plan: InputPlan, data: Sequence[Tensor | RegionTensor], request_id: str
    ) -> list[Tensor]:
        """Copy tensors out of shared memory, once they are known to have the right size.

        Raises:
            NotFoundError: A region is gone.
            InvalidArgumentError: A size is wrong, or a region has become shorter.
        """
        for size, tensor, given in zip(plan.sizes, data, plan.given, strict=True):
            is_fixed = given.datatype is not Datatype.BYTES
            if isinstance(tensor, RegionTensor) and is_fixed and len(tensor) != size:
                error = self._size_mismatch(given.name, size, len(tensor))
                raise with_request_id(error, request_id)
        return [item.read() if isinstance(item, RegionTensor) else item for item in data]

    def _size_mismatch(self, name: str, expected: int, got: int) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"input byte size mismatch for input '{name}' for model '{self._spec.model}'. "
            f"Expected {expected}, got {got}"
        )

    def _order(self, given: Sequence[GivenInput]) -> tuple[int, ...]:
        known = self._inputs
        if not self._required <= len(given) <= len(known):
            raise self._count_error(given)
        try:
            order = tuple([known[tensor.name] for tensor in given])
        except KeyError as error:
            raise self._unexpected(error.args[0]) from error
        if len(order) < len(known) and self._missing(given):
            raise self._count_error(given)
        return order

    def _unexpected(self, name: str) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"unexpected inference input '{name}' for model '{self._spec.model}'"
        )

    def _missing(self, given: Sequence[GivenInput]) -> list[str]:
        names = {tensor.name for tensor in given}
        return [t.name for t in self._spec.inputs if not t.optional and t.name not in names]

    def _count_error(self, given: Sequence[GivenInput]) -> InvalidArgumentError:
        most, model = len(self._inputs), self._spec.model
        number = (
            f"expected {most} inputs"
            if self._required == most
            else f"expected number of inputs between {self._required} and {most}"
        )
        names = _quoted([tensor.name for tensor in given])
        head = f"{number} but got {len(given)} inputs for model '{model}'. Got input(s) {names}"
        missing = self._missing(given)
        if missing:
            return InvalidArgumentError(
                f"{head}, but missing required input(s) {_quoted(missing)}. "
                "Please provide all required input(s)."
            )
        surplus = [tensor.name for tensor in given if tensor.name not in self._inputs]
        unexpected = surplus[0] if surplus else given[-1].name
        return InvalidArgumentError(
            f"{head}: unexpected inference input '{unexpected}' for model '{model}'"
        )

    def _rows(self, given: Sequence[GivenInput]) -> int:
        model, limit = self._spec.model, self._spec.max_batch_rows
        rows = -1
        for tensor in given:
            if not tensor.shape:
                raise InvalidArgumentError(
                    f"input '{tensor.name}' has no shape but model requires batch dimension "
                    f"for '{model}'"
                )
            _refuse_negative(tensor, model)
            if rows not in (-1, tensor.shape[0]):
                raise InvalidArgumentError(
                    f"input '{tensor.name}' batch size does not match other inputs for '{model}'"
                )
            rows = tensor.shape[0]
        if rows > limit:
            raise InvalidArgumentError(
                f"inference request batch-size must be <= {limit} for '{model}', got {rows}"
            )
        if rows < 1:
            raise InvalidArgumentError(
                f"inference request batch-size must be <= {limit} and at least 1 for '{model}', "
                f"got {max(rows, 0)}"
            )
        return rows

    def _fitting_shape(self, spec: TensorSpec, given: GivenInput) -> tuple[int, ...]:
        model = self._spec.model
        if given.datatype != spec.datatype:
            raise InvalidArgumentError(
                f"inference input '{given.name}' data-type is '{given.datatype}', but model "
                f"'{model}' expects '{spec.datatype}'"
            )
        _refuse_negative(given, model)
        shape = _fitted(given.shape, spec.shape)
        if shape is None:
            note = _BATCH_NOTE if self._batched else ""
            raise InvalidArgumentError(
                f"unexpected shape for input '{given.name}' for model '{model}'. Expected "
                f"{shape_text(spec.shape)}, got {shape_text(given.shape)}. {note}".rstrip()
            )
        return shape


def refuse_duplicates(names: Sequence[str], request_id: str) -> None:
    """Refuse a request that gives an input twice.

    Raises:
        InvalidArgumentError: It does.
    """
    if len(names) < 2 or len(set(names)) == len(names):  # noqa: PLR2004  one cannot be twice
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            error = InvalidArgumentError(f"input '{name}' already exists in request")
            raise with_request_id(error, request_id)
        seen.add(name)


def with_request_id(error: InvalidArgumentError, request_id: str) -> InvalidArgumentError:
    """Return the error with the request's id in front, as clients know it."""
    return InvalidArgumentError(f"[request id: {request_id or '<id_unknown>'}] {error.message}")


def _refuse_negative(given: GivenInput, model: str) -> None:
    if given.shape and min(given.shape) < 0:
        raise InvalidArgumentError(
            f"All input dimensions should be specified for input '{given.name}' for model "
            f"'{model}', got {shape_text(given.shape)}"
        )


def _fitted(given: tuple[int, ...], want: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape in the model's rank: one element may be a scalar or a vector of 1."""
    if len(given) != len(want):
        scalar = {given, want} == {(), (1,)}
        return want if scalar else None
    for dimension, expected in zip(given, want, strict=True):
        if expected not in (-1, dimension):
            return None
    return given


def _quoted(names: Sequence[str]) -> str:
    return "[" + ",".join([f"'{name}'" for name in names]) + "]"
