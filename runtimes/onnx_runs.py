"""Fast path. Running a loaded ONNX session: three ways, chosen by datatypes and device.

==============  ======================================  ==============================
way             used for                                how tensors travel
==============  ======================================  ==============================
`PlainModel`    CPU, numpy's own datatypes; text        numpy arrays, no copy in
`OrtValueModel` CPU, a BF16 tensor is among them        OrtValue over the same bytes
`BoundModel`    CUDA, without text                      IOBinding, reused input buffers
==============  ======================================  ==============================
"""

import ctypes
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.devices import CPU, Device
from runtimes.engine_messages import clean_engine_message, is_callers_fault
from runtimes.errors import BasculeError, EngineError, InvalidArgumentError
from runtimes.findings import Finding
from runtimes.onnx_engine import OrtValue, RunOptions, Session, engine
from runtimes.onnx_graph import GRAPH_ID, NO_GRAPH, QUIET, OrtGraph
from runtimes.proven_graphs import ProvenGraphs, Run

ONNX_BF16: Final = 16  # TensorProto.BFLOAT16
BUFFERED_SHAPES: Final = 8  # device buffers kept for each input, one a shape

# The engine's exception classes have no base class of their own.
RUN_FAILURES: Final = (
    engine.Fail,
    engine.InvalidArgument,
    engine.NotImplemented,
    engine.RuntimeException,
    engine.EngineError,
    engine.EPFail,
    engine.InvalidGraph,
    RuntimeError,
    ValueError,  # UnicodeError among them: text that UTF-8 cannot carry
    TypeError,
    MemoryError,
)


class Remarked:
    """What an operator should know of a session, set by who opened it."""

    device: Device = CPU
    """Where it runs."""
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    has_loops: bool = False
    """How long a run takes may depend on its inputs' values."""


class PlainModel(Remarked):
    """A session whose tensors numpy knows, on the CPU, or with texts among them.

    A session that was made with graphs enabled must be told that these runs are none.
    """

    def __init__(
        self,
        session: Session,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        *,
        graphs: bool = False,
    ) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._input_names = [spec.name for spec in inputs]
        self._output_names = [spec.name for spec in outputs]
        self._has_optional = any(spec.optional for spec in inputs)
        self._options = RunOptions()
        self._options.log_severity_level = QUIET
        if graphs:
            self._options.add_run_config_entry(GRAPH_ID, NO_GRAPH)
        # The wrapper `session.run` checks names again and builds new run options: 1.5 of 4.5 µs
        # for a tiny model. Names are right by construction here, and its fallback is not wanted.
        self._run = session._sess.run  # noqa: SLF001  see above; a test pins that it exists

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Specs of the inputs, in the model's order, optional ones last."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Specs of the outputs, in the model's order."""
        return self._outputs

    def run(self, feeds: Sequence[Array | None]) -> list[Array]:
        """Run one batch; see `runtimes.contract.LoadedModel.run`."""
        named = dict(zip(self._input_names, feeds, strict=True))
        if self._has_optional:
            named = {name: array for name, array in named.items() if array is not None}
        try:
            found: list[Array] = self._run(self._output_names, named, self._options)
        except RUN_FAILURES as error:
            raise run_error(error) from error
        return found

    def close(self) -> None:
        """Drop the session; its memory is given back at once."""
        self._run = refuse_closed


class OrtValueModel(Remarked):
    """A session on the CPU with BF16 tensors, which numpy arrays cannot carry into the engine."""

    def __init__(
        self, session: Session, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._output_names = [spec.name for spec in outputs]
        self._passed_through = {spec.name for spec in inputs}.intersection(self._output_names)
        self._options = RunOptions()
        self._options.log_severity_level = QUIET
        self._run = session.run_with_ort_values

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Specs of the inputs, in the model's order, optional ones last."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Specs of the outputs, in the model's order."""
        return self._outputs

    def run(self, feeds: Sequence[Array | None]) -> list[Array]:
        """Run one batch; see `runtimes.contract.LoadedModel.run`."""
        try:
            named = {
                spec.name: value_of(spec, array)
                for spec, array in zip(self._inputs, feeds, strict=True)
                if array is not None
            }
            found = self._run(self._output_names, named, self._options)
            return [
                self._own(spec, value) for spec, value in zip(self._outputs, found, strict=True)
            ]
        except RUN_FAILURES as error:
            raise run_error(error) from error

    def close(self) -> None:
        """Drop the session; its memory is given back at once."""
        self._run = refuse_closed

    def _own(self, spec: TensorSpec, value: OrtValue) -> Array:
        """Return an output; one that is an input lies in the feed's memory, which nobody keeps."""
        array = array_of(spec, value)
        return array.copy() if spec.name in self._passed_through else array


class BoundModel(Remarked):
    """A session on a CUDA device: inputs go into buffers there that are kept for each shape.

    Outputs are allocated by the engine on the device, since their shapes are known only after the
    run, and copied to the host when the device has finished. Where graphs are wanted, runs of
    shapes that come again are captured, with outputs in buffers, too (`runtimes.proven_graphs`).
    """

    def __init__(
        self,
        session: Session,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        device: Device,
        *,
        graphs: bool = False,
    ) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._device = device
        self._captured_count = 0
        self.graphs: ProvenGraphs | None = None
        """None: every run is plain."""
        self._session: Session | None = session
        self._binding = session.io_binding()
        self._options = RunOptions()
        self._options.log_severity_level = QUIET
        self._buffers: dict[str, OrderedDict[tuple[int, ...], OrtValue]] = {
            spec.name: OrderedDict() for spec in inputs
        }
        if graphs:
            self._options.add_run_config_entry(GRAPH_ID, NO_GRAPH)
            if all(spec.datatype is not Datatype.BF16 for spec in (*inputs, *outputs)):
                self.graphs = ProvenGraphs(self._run, self._capture)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Specs of the inputs, in the model's order, optional ones last."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Specs of the outputs, in the model's order."""
        return self._outputs

    @property
    def buffered_shapes(self) -> Mapping[str, tuple[tuple[int, ...], ...]]:
        """The shapes for which a device buffer is kept, by input; the oldest first."""
        return {name: tuple(kept) for name, kept in self._buffers.items()}

    def run(self, feeds: Sequence[Array | None]) -> list[Array]:
        """Run one batch; see `runtimes.contract.LoadedModel.run`."""
        return self._run(feeds) if self.graphs is None else self.graphs.run(feeds)

    def _run(self, feeds: Sequence[Array | None]) -> list[Array]:
        if self._session is None:
            refuse_closed()
        try:
            self._bind(feeds)
            self._session.run_with_iobinding(self._binding, self._options)
            self._binding.synchronize_outputs()
            found = self._binding.get_outputs()
            return [array_of(spec, v) for spec, v in zip(self._outputs, found, strict=True)]
        except RUN_FAILURES as error:
            raise run_error(error) from error

    def close(self) -> None:
        """Drop the buffers and the session; the device memory is given back at once."""
        if self.graphs is not None:
            self.graphs.close()
        self._buffers.clear()
        self._binding = None
        self._session = None

    def _capture(self, feeds: Sequence[Array | None], results: Sequence[Array]) -> Run:
        if self._session is None:
            refuse_closed()
        self._captured_count += 1
        specs, number = (self._inputs, self._outputs), self._captured_count
        try:
            graph = OrtGraph(self._session, specs, self._device, (feeds, results), number)
        except RUN_FAILURES as error:
            raise run_error(error) from error

        def replay(fed: Sequence[Array | None]) -> list[Array]:
            try:
                return graph.run(fed)
            except RUN_FAILURES as error:
                raise run_error(error) from error

        return replay

    def _bind(self, feeds: Sequence[Array | None]) -> None:
        self._binding.clear_binding_inputs()
        self._binding.clear_binding_outputs()
        for spec, array in zip(self._inputs, feeds, strict=True):
            if array is not None:
                self._binding.bind_ortvalue_input(spec.name, self._placed(spec, array))
        for spec in self._outputs:
            on_host = spec.datatype is Datatype.BF16  # read by address: the engine copies it
            place = ("cpu", 0) if on_host else (self._device.kind, self._device.index)
            self._binding.bind_output(spec.name, *place)

    def _placed(self, spec: TensorSpec, array: Array) -> OrtValue:
        """Return the input as an OrtValue on the device, in a kept buffer if possible."""
        if spec.datatype is Datatype.BF16 or array.size == 0:  # cannot be updated in place
            return value_of(spec, array)
        kept = self._buffers[spec.name]
        buffer = kept.pop(array.shape, None)
        if buffer is None:
            buffer = OrtValue.ortvalue_from_shape_and_type(
                array.shape, DTYPES[spec.datatype].type, self._device.kind, self._device.index
            )
            if len(kept) >= BUFFERED_SHAPES:
                kept.popitem(last=False)
        kept[array.shape] = buffer
        buffer.update_inplace(array)
        return buffer


def value_of(spec: TensorSpec, array: Array) -> OrtValue:
    """Return an OrtValue over an array's bytes, which must stay alive until the run is over."""
    if spec.datatype is Datatype.BF16:
        bits = array.view(np.uint16)
        return OrtValue.ortvalue_from_numpy_with_onnx_type(bits, ONNX_BF16)
    return OrtValue.ortvalue_from_numpy(array)


def array_of(spec: TensorSpec, value: OrtValue) -> Array:
    """Return an output as an array of its own in host memory; BF16 bit for bit."""
    if spec.datatype is not Datatype.BF16:
        copied: Array = value.numpy()
        return copied
    shape = tuple(value.shape())
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:
        return np.empty(shape, DTYPES[Datatype.BF16])
    # Neither numpy() nor DLPack carries bfloat16 to numpy; the address does.
    bits = (ctypes.c_uint16 * count).from_address(value.data_ptr())
    array: Array = np.ctypeslib.as_array(bits).copy().view(DTYPES[Datatype.BF16])
    return array.reshape(shape)


def run_error(error: BaseException) -> BasculeError:
    """Return what a failed run means to the caller."""
    text = str(error)
    if isinstance(error, UnicodeEncodeError):
        return InvalidArgumentError(f"a text cannot be written as UTF-8: {error.reason}")
    if isinstance(error, UnicodeDecodeError):
        return EngineError(f"the model returned bytes that are no UTF-8 text: {error.reason}")
    message = clean_engine_message(text)
    if isinstance(error, engine.InvalidArgument) or is_callers_fault(text):
        return InvalidArgumentError(f"the model cannot run these inputs: {message}")
    return EngineError(f"the model failed: {message}")


def refuse_closed(*_: object) -> NoReturn:
    """Stand in for a session that was closed.

    Raises:
        EngineError: Always.
    """
    raise EngineError("the model was closed and cannot run any more")
