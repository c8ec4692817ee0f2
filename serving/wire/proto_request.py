"""Fast path. A ModelInferRequest, walked by hand; field numbers are those of `protos/`.

By hand, because protobuf's own parser copies tensor bytes, and because only a walk tells where the
tensors lie, which is what lets `v2_proto` recognise the next request of the same form at a glance.
"""

from math import prod
from typing import Final

import msgspec

from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.wire.input_checks import GivenInput, InputChecks, refuse_duplicates
from serving.wire.output_checks import GivenOutput
from serving.wire.parameters import NONE, Parameters, Scalar, read_parameters
from serving.wire.proto_contents import MAX_TEXT_FIELDS, MAX_UNPACKED, tensor_from_contents
from serving.wire.proto_parameters import classification, read_parameter, region_of
from serving.wire.protobuf import (
    BYTES,
    Budget,
    budget_of,
    fields,
    read_varint,
    signed,
    text,
)
from serving.wire.regions import REGION, Regions, RegionSpan, RegionTensor
from serving.wire.request_limits import LARGE_BYTES, MAX_RANK, refuse_rank
from serving.wire.tensors import DATATYPES, Buffer, Tensor

Span = tuple[int, int]
"""Start and end of a payload in the message."""

_NAME: Final = 1
_VERSION: Final = 2
_NAME_TAG: Final = 0x0A
_VERSION_TAG: Final = 0x12
_SINGLE_BYTE: Final = 0x80


class Target(msgspec.Struct, frozen=True):
    """Whom a ModelInferRequest is for."""

    model: str
    version_text: str
    """As the client wrote it; empty when the server chooses."""
    head_bytes: int = 0
    """Messages of this size that begin with the same bytes, so many, name the same; 0: not told."""


class ProtoRequest(msgspec.Struct):
    """The parts of a message."""

    id: str = ""
    parameters: Parameters = NONE
    given: list[GivenInput] = []
    contents: list[list[Span]] = []
    """Typed contents of each input, where there are any."""
    outputs: list[GivenOutput] = []
    raws: list[Span] = []
    regions: dict[int, RegionSpan] = {}
    """Where the inputs lie that are in shared memory, by their place in the request."""


def read_target(message: Buffer) -> Target:
    """Read model and version of a ModelInferRequest: the first occurrence, as the edge does.

    Raises:
        InvalidArgumentError: The message is no protobuf.
    """
    view = memoryview(message)
    # As clients write it: name and version first, each shorter than 128 bytes.
    name = _short_text(view, _NAME_TAG, 0)
    if name is None:
        return _walked_target(view)
    end = 2 + view[1]
    version = _short_text(view, _VERSION_TAG, end)
    if version is not None:
        return Target(name, version, end + 2 + view[end + 1])
    if end < len(view) and view[end] > _VERSION_TAG:
        return Target(name, "", end + 1)
    return _walked_target(view)


def _short_text(view: memoryview, tag: int, at: int) -> str | None:
    start = at + 2
    if start > len(view) or view[at] != tag:
        return None
    size = view[at + 1]
    if size >= _SINGLE_BYTE or start + size > len(view):
        return None
    return text(view, start, start + size)


def _walked_target(view: memoryview) -> Target:
    found: dict[int, str] = {}
    for number, wire, start, end in fields(view, 0, len(view), budget_of()):
        if wire == BYTES and number in (_NAME, _VERSION):
            found.setdefault(number, text(view, start, end))
        # Clients write the fields in order: nothing to be found behind these.
        if number > _VERSION and _NAME in found:
            break
    return Target(found.get(_NAME, ""), found.get(_VERSION, ""))


def read_request(view: memoryview) -> ProtoRequest:
    """Walk a message.

    Raises:
        InvalidArgumentError: It is no ModelInferRequest, or a value in it is invalid.
    """
    request = ProtoRequest()
    parameters: dict[str, Scalar] = {}
    budget = budget_of()
    for number, wire, start, end in fields(view, 0, len(view), budget):
        match number, wire:
            case 7, 2:
                request.raws.append((start, end))
            case 5, 2:
                given, contents = _read_input(view, start, end, request, budget)
                request.given.append(given)
                request.contents.append(contents)
            case 6, 2:
                request.outputs.append(_read_output(view, start, end, budget))
            case 3, 2:
                request.id = text(view, start, end)
            case 4, 2:
                read_parameter(view, start, end, parameters, budget)
            case _:
                pass  # model and version, or a field that we do not know
    if parameters:
        request.parameters = read_parameters(parameters, grpc=True)
    refuse_duplicates([given.name for given in request.given], request.id)
    return request


def take_data(view: memoryview, request: ProtoRequest, checks: InputChecks) -> list[Tensor]:
    """Return the data of each input, in the order of the request.

    Raises:
        InvalidArgumentError: Data is missing, given twice, of another type, or left over.
    """
    model = checks.model
    if not request.raws:
        numbers, texts = budget_of(MAX_UNPACKED), budget_of(MAX_TEXT_FIELDS)
        return [
            _typed(
                view, spans, given, checks, texts if given.datatype is Datatype.BYTES else numbers
            )
            for given, spans in zip(request.given, request.contents, strict=True)
        ]
    if any(request.contents):
        _refuse_contents(request, model)
    if len(request.raws) < len(request.given):
        raise _no_data(request.given[len(request.raws)], model)
    if len(request.raws) != len(request.given):
        raise InvalidArgumentError(
            f"unexpected additional input data for model '{model}': {len(request.raws)} "
            f"raw_input_contents for {len(request.given)} inputs"
        )
    return [view[start:end] for start, end in request.raws]


def take_mixed_data(
    view: memoryview, request: ProtoRequest, checks: InputChecks, regions: Regions
) -> list[Tensor | RegionTensor]:
    """Return the data of each input of a request that has some in shared memory.

    Raises:
        NotFoundError: A region is not registered.
        InvalidArgumentError: As in `take_data`, or a part is not within its region.
    """
    lying = {place: RegionTensor(regions, span) for place, span in request.regions.items()}
    sent = [k for k in range(len(request.given)) if k not in lying]
    for place in request.regions:
        if any(start < end for start, end in request.contents[place]):
            raise InvalidArgumentError(
                f"input '{request.given[place].name}' sets both '{REGION}' and contents for model "
                f"'{checks.model}': choose one"
            )
    rest = ProtoRequest(
        given=[request.given[k] for k in sent],
        contents=[request.contents[k] for k in sent],
        raws=request.raws,
    )
    data = iter(take_data(view, rest, checks))
    return [lying[k] if k in lying else next(data) for k in range(len(request.given))]


def _refuse_contents(request: ProtoRequest, model: str) -> None:
    for given, spans in zip(request.given, request.contents, strict=True):
        if any(start < end for start, end in spans):
            raise InvalidArgumentError(
                "contents field must not be specified when using raw_input_contents for "
                f"'{given.name}' for model '{model}'"
            )


def _typed(
    view: memoryview, spans: list[Span], given: GivenInput, checks: InputChecks, budget: Budget
) -> Tensor:
    size_bytes = sum([end - start for start, end in spans])
    if not size_bytes:
        if prod(given.shape) != 0:
            raise _no_data(given, checks.model)
        return b""
    if size_bytes > LARGE_BYTES:
        checks.refuse_misfit(given)
    return tensor_from_contents(view, spans, given, model=checks.model, budget=budget)


def _no_data(given: GivenInput, model: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"unable to find data for input tensor '{given.name}' for model '{model}' in request."
    )


def _read_input(
    view: memoryview, at: int, end: int, request: ProtoRequest, budget: Budget
) -> tuple[GivenInput, list[Span]]:
    name = datatype = ""
    shape: list[int] = []
    contents: list[Span] = []
    parameters: dict[str, Scalar] = {}
    for number, wire, start, stop in fields(view, at, end, budget):
        match number, wire:
            case 1, 2:
                name = text(view, start, stop)
            case 2, 2:
                datatype = text(view, start, stop)
            case 3, (0 | 2):
                _read_shape(view, start, stop, shape, name)
            case 4, 2:
                read_parameter(view, start, stop, parameters, budget)
            case 5, 2:
                contents.append((start, stop))
            case _:
                pass  # a field that we do not know
    if parameters and (region := region_of(parameters)) is not None:
        request.regions[len(request.given)] = region
    return GivenInput(name, _known_datatype(datatype, name), tuple(shape)), contents


def _known_datatype(spelt: str, name: str) -> Datatype:
    datatype = DATATYPES.get(spelt)
    if datatype is None:
        raise InvalidArgumentError(
            f"invalid datatype for input {name}: '{spelt[:40]}', expected one of "
            f"{', '.join(DATATYPES)}"
        )
    return datatype


def _read_shape(view: memoryview, at: int, end: int, shape: list[int], name: str) -> None:
    while at < end:
        value = view[at]
        if value < _SINGLE_BYTE:
            at += 1
        else:
            value, at = read_varint(view, at, end)
            value = signed(value)
        shape.append(value)
        if len(shape) > MAX_RANK:
            refuse_rank(name, len(shape))


def _read_output(view: memoryview, at: int, end: int, budget: Budget) -> GivenOutput:
    name = ""
    parameters: dict[str, Scalar] = {}
    for number, wire, start, stop in fields(view, at, end, budget):
        if wire == BYTES and number == 1:
            name = text(view, start, stop)
        elif wire == BYTES and number == 2:  # noqa: PLR2004  parameters
            read_parameter(view, start, stop, parameters, budget)
    region = region_of(parameters) if parameters else None
    return GivenOutput(name, True, classification(parameters), region)  # noqa: FBT003  a record
