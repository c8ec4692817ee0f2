"""Fast path. One captured run of ONNX Runtime: its buffers on the device, and the graph's number.

The engine captures at the first run with a number and replays at all later ones; the buffers must
stay where they are meanwhile.
"""

from collections.abc import Sequence
from typing import Final

from runtimes.contract import Array, TensorSpec
from runtimes.devices import Device
from runtimes.onnx_engine import OrtValue, RunOptions, Session

GRAPH_ID: Final = "gpu_graph_id"
NO_GRAPH: Final = "-1"
"""A run that is neither captured nor replayed."""
QUIET: Final = 4  # severity "fatal": failures reach the caller as errors, not as log lines


class OrtGraph:
    """Runs of one set of shapes."""

    def __init__(
        self,
        session: Session,
        specs: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
        device: Device,
        example: tuple[Sequence[Array | None], Sequence[Array]],
        number: int,
    ) -> None:
        """Make the buffers.

        Args:
            session: Made with graphs enabled.
            specs: The inputs' and the outputs'.
            device: Where the buffers lie.
            example: Inputs, and the outputs that belong to them: their shapes count.
            number: The graph's own; the engine keeps the graph until the session ends.
        """
        (inputs, outputs), (feeds, results) = specs, example
        place = (device.kind, device.index)
        self._is_host = device.kind == "cpu"  # there, arrays share the buffers' memory
        self._session = session
        self._binding = session.io_binding()
        self._options = RunOptions()
        self._options.log_severity_level = QUIET
        self._options.add_run_config_entry(GRAPH_ID, str(number))
        self._fed: list[OrtValue | None] = []
        for spec, array in zip(inputs, feeds, strict=True):
            value = None if array is None else OrtValue.ortvalue_from_numpy(array.copy(), *place)
            self._fed.append(value)
            if value is not None:
                self._binding.bind_ortvalue_input(spec.name, value)
        self._given: list[OrtValue] = []
        for spec, result in zip(outputs, results, strict=True):
            value = OrtValue.ortvalue_from_shape_and_type(result.shape, result.dtype.type, *place)
            self._given.append(value)
            self._binding.bind_ortvalue_output(spec.name, value)

    def run(self, feeds: Sequence[Array | None]) -> list[Array]:
        """Copy the inputs in, run, copy the outputs out."""
        for value, array in zip(self._fed, feeds, strict=True):
            if value is not None and array is not None:
                value.update_inplace(array)
        self._session.run_with_iobinding(self._binding, self._options)
        self._binding.synchronize_outputs()
        found = [value.numpy() for value in self._given]
        return [array.copy() for array in found] if self._is_host else found
