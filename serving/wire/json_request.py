"""Fast path. The JSON part of an infer request, read in the order of the protocol's checks.

JSON syntax, id, parameters, inputs one by one, left-over tail, outputs. What is read here has the
protocol's form; whether it fits the model's inputs is asked in `input_checks`. One file, although
a long one: the records and the walk over them are read side by side.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from runtimes.errors import InvalidArgumentError
from serving.wire.call import OutputAsk
from serving.wire.input_checks import GivenInput, InputChecks, refuse_duplicates
from serving.wire.json_data import nesting_error, tensor_from_json, tensor_from_values
from serving.wire.json_faults import parse_loosely, refuse_faults
from serving.wire.output_checks import GivenOutput, OutputChecks
from serving.wire.parameters import NONE, Parameters, read_parameters
from serving.wire.regions import REGION, Regions, RegionSpan, RegionTensor, region_span
from serving.wire.request_limits import (
    LARGE_BYTES,
    MAX_ENTRIES,
    MAX_LOOSE_BYTES,
    MAX_RANK,
    refuse_texts,
)
from serving.wire.tensors import DATATYPES, ITEM_BYTES, Buffer, Tensor, element_count

_ONE_FIELD: Final = (
    "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
    "'shared_memory_region' in 'parameters'. But "
)
_ABSENT: Final = msgspec.Raw()
_Size = Annotated[int, msgspec.Meta(ge=0)]
_Few: Final = msgspec.Meta(max_length=MAX_ENTRIES)


class _InputParameters(msgspec.Struct):
    binary_data_size: _Size | None = None
    shared_memory_region: str | None = None
    shared_memory_byte_size: _Size | None = None
    shared_memory_offset: _Size | None = None


class _Input(msgspec.Struct):
    name: str
    shape: Annotated[tuple[_Size, ...], msgspec.Meta(max_length=MAX_RANK)]
    datatype: str
    parameters: _InputParameters | None = None
    data: msgspec.Raw = _ABSENT


class _OutputParameters(msgspec.Struct):
    binary_data: bool | None = None
    classification: _Size | None = None
    shared_memory_region: str | None = None
    shared_memory_byte_size: _Size | None = None
    shared_memory_offset: _Size | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: _OutputParameters | None = None


class _Request(msgspec.Struct):
    inputs: Annotated[list[_Input], _Few]
    outputs: Annotated[list[_Output], _Few] | None = None
    id: str | None = None
    parameters: Annotated[dict[str, int | float | str | bool], _Few] | None = None


class _Parsed(msgspec.Struct):
    request: _Request
    trees: list[object] | None = None
    """Values of each input's `data` when the document had to be parsed loosely."""


class ReadRequest(msgspec.Struct, frozen=True):
    """A request whose JSON has the protocol's form."""

    id: str
    given: list[GivenInput]
    data: list[Any]
    """Per input: raw bytes, a finished object array for BYTES from JSON, or a `RegionTensor`."""
    sizes: tuple[int, ...]
    """Bytes in the tail per input; empty if some came as JSON, or anything is in a region."""
    region_bytes: int
    """Bytes of the inputs that lie in shared memory; -1: none does."""
    outputs: tuple[OutputAsk, ...]
    parameters: Parameters


class RequestReader:
    """Reads the requests to one version."""

    def __init__(
        self, inputs: InputChecks, outputs: OutputChecks, max_json_bytes: int, regions: Regions
    ) -> None:
        """Read requests to a version whose JSON has at most `max_json_bytes`."""
        self._regions = regions
        self._model = inputs.model
        self._input_checks = inputs
        self._checks = outputs
        self._max_json_bytes = max_json_bytes
        self._parse = msgspec.json.Decoder(_Request).decode

    def read(self, header: Buffer, tail: memoryview) -> ReadRequest:
        """Read a header, and cut the tail as it says.

        Raises:
            InvalidArgumentError: It does not have the protocol's form.
            NotFoundError: It names a shared-memory region.
        """
        if len(header) > self._max_json_bytes:
            raise self._too_large("request JSON size of", len(header))
        parsed = self._parsed(header)
        request = parsed.request
        request_id = request.id or ""
        parameters = read_parameters(request.parameters, grpc=False) if request.parameters else NONE
        given, data, sizes = self._inputs(parsed, tail, request_id)
        outputs = self._outputs(request, request_id, binary=parameters.binary_output)
        if request.outputs and any(ask.region is not None for ask in outputs):
            sizes = ()
        in_regions = [len(item) for item in data if isinstance(item, RegionTensor)]
        region_bytes = sum(in_regions) if in_regions else -1
        return ReadRequest(request_id, given, data, sizes, region_bytes, outputs, parameters)

    def cut(
        self, tail: memoryview, sizes: Sequence[int], given: Sequence[GivenInput]
    ) -> list[memoryview]:
        """Cut the binary tail into tensors of the given sizes.

        Raises:
            InvalidArgumentError: It is shorter or longer.
        """
        pieces: list[memoryview] = []
        at = 0
        for size in sizes:
            pieces.append(tail[at : at + size])
            at += size
        if at != len(tail):
            raise self.tail_error(tail, sizes, given)
        return pieces

    def tail_error(
        self, tail: memoryview, sizes: Sequence[int], given: Sequence[GivenInput]
    ) -> InvalidArgumentError:
        """Return the error of a tail that is not as long as the sizes say."""
        left = len(tail)
        for size, tensor in zip(sizes, given, strict=True):
            if size > left:
                return self._short_tail(tensor.name, size - left)
            left -= size
        return self._long_tail(left)

    def _parsed(self, header: Buffer) -> _Parsed:
        try:
            return _Parsed(self._parse(header))
        except RecursionError as error:
            raise nesting_error() from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if len(header) > MAX_LOOSE_BYTES:
                raise _unread(error, len(header)) from error
            return _parsed_loosely(bytes(header))

    def _inputs(
        self, parsed: _Parsed, tail: memoryview, request_id: str
    ) -> tuple[list[GivenInput], list[Any], tuple[int, ...]]:
        inputs = parsed.request.inputs
        refuse_duplicates([entry.name for entry in inputs], request_id)
        given: list[GivenInput] = []
        data: list[Any] = []
        sizes: list[int] = []
        at = 0
        for index, entry in enumerate(inputs):
            datatype = DATATYPES.get(entry.datatype)
            if datatype is None:
                raise InvalidArgumentError(
                    f"invalid datatype for input {entry.name}: '{entry.datatype[:40]}', expected "
                    f"one of {', '.join(DATATYPES)}"
                )
            tensor = GivenInput(entry.name, datatype, entry.shape)
            given.append(tensor)
            tree = None if parsed.trees is None else parsed.trees[index]
            size = _tail_bytes(entry, tree)
            if size is None:
                data.append(self._json_tensor(entry, tensor, tree))
                continue
            if isinstance(size, RegionSpan):
                data.append(RegionTensor(self._regions, size))
                continue
            if at + size > len(tail):
                raise self._short_tail(entry.name, at + size - len(tail))
            data.append(tail[at : at + size])
            sizes.append(size)
            at += size
        if at != len(tail):
            raise self._long_tail(len(tail) - at)
        return given, data, tuple(sizes) if len(sizes) == len(inputs) else ()

    def _json_tensor(self, entry: _Input, tensor: GivenInput, tree: object) -> Tensor:
        size = element_count(tensor.shape, tensor.name) * ITEM_BYTES[tensor.datatype]
        if not size:
            refuse_texts(tensor.name, element_count(tensor.shape, tensor.name))
        if size > self._max_json_bytes:
            raise self._too_large(f"JSON input '{tensor.name}' has a byte_size", size)
        if len(memoryview(entry.data)) > LARGE_BYTES:
            self._input_checks.refuse_misfit(tensor)
        if tree is not None:
            return tensor_from_values(tree, tensor, model=self._model)
        return tensor_from_json(entry.data, tensor, model=self._model)

    def _outputs(
        self, request: _Request, request_id: str, *, binary: bool
    ) -> tuple[OutputAsk, ...]:
        if not request.outputs:
            return self._checks.all_outputs(binary=binary)
        given: list[GivenOutput] = []
        for output in request.outputs:
            parameters = output.parameters or _OutputParameters()
            given.append(
                GivenOutput(
                    output.name,
                    parameters.binary_data or False,
                    parameters.classification or 0,
                    self._output_region(output.name, parameters),
                )
            )
        return self._checks.listed_outputs(given, request_id)

    def _output_region(self, name: str, parameters: _OutputParameters) -> RegionSpan | None:
        region = parameters.shared_memory_region
        if region is None:
            return None
        if parameters.binary_data:
            raise InvalidArgumentError(
                f"output '{name}' sets both '{REGION}' and 'binary_data': choose one"
            )
        span = region_span(
            region, parameters.shared_memory_offset, parameters.shared_memory_byte_size
        )
        self._regions.check(span)
        return span

    def _too_large(self, what: str, size: int) -> InvalidArgumentError:
        limit = self._max_json_bytes
        if what.startswith("request"):
            text = f"{what} {size} bytes exceeds the maximum allowed input size of {limit} bytes"
        else:
            text = f"{what} ({size} bytes) that exceeds the maximum allowed value of {limit} bytes"
        return InvalidArgumentError(
            f"{text}. Use --http-max-input-size to increase the limit, or the binary data format."
        )

    def _short_tail(self, name: str, missing: int) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"unexpected size for input '{name}', expecting {missing} additional bytes for model "
            f"'{self._model}'"
        )

    def _long_tail(self, surplus: int) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"unexpected additional input data for model '{self._model}': {surplus} bytes are "
            "left after the last binary input"
        )


def _unread(error: Exception, size: int) -> InvalidArgumentError:
    """Return the error of a large document that the strict parser refused."""
    return InvalidArgumentError(
        f"Unable to parse the request: {error}. JSON of {size} bytes, more than {MAX_LOOSE_BYTES}, "
        "is read only without NaN and Infinity: send such tensors as binary data"
    )


def _parsed_loosely(header: bytes) -> _Parsed:
    """Parse what the strict parser refused: bare NaN or Infinity, or a fault to be explained."""
    tree = parse_loosely(header)
    refuse_faults(tree)
    trees = [entry.pop("data", None) for entry in tree["inputs"]]
    try:
        return _Parsed(msgspec.convert(tree, _Request), trees)
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(f"Unable to parse the request: {error}") from error


def _tail_bytes(entry: _Input, tree: object) -> int | RegionSpan | None:
    """Return how much of the tail is an input's, its region, or None when its data is JSON."""
    parameters = entry.parameters
    size = parameters.binary_data_size if parameters else None
    region = parameters.shared_memory_region if parameters else None
    is_json = tree is not None or (entry.data is not _ABSENT and bytes(entry.data) != b"null")
    if is_json + (size is not None) + (region is not None) == 1:
        if region is not None and parameters is not None:
            return region_span(
                region, parameters.shared_memory_offset, parameters.shared_memory_byte_size
            )
        return size
    fields = {
        "'data'": is_json,
        "'binary_data_size'": size is not None,
        "'shared_memory_region'": region is not None,
    }
    if not any(fields.values()):
        if 0 in entry.shape:
            return 0
        raise InvalidArgumentError(f"{_ONE_FIELD}no field is set: input '{entry.name}'")
    found = " ".join([field for field, is_set in fields.items() if is_set])
    raise InvalidArgumentError(f"{_ONE_FIELD}set {found}: input '{entry.name}'")
