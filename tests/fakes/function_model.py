"""A `LoadedModel` that computes with a Python function: for tests without an engine."""

from collections.abc import Callable, Sequence

from runtimes.contract import Array, TensorSpec

Compute = Callable[[list[Array | None]], list[Array]]


class FunctionModel:
    """Runs a function on the feeds and remembers each run's shapes."""

    def __init__(
        self,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        compute: Compute,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.notes = notes
        self.runs: list[list[tuple[int, ...] | None]] = []
        self.is_closed = False
        self._compute = compute

    def run(self, feeds: Sequence[Array | None]) -> list[Array]:
        """Compute, as a runtime would: feeds in the order of `inputs`, one array an output."""
        self.runs.append([None if array is None else array.shape for array in feeds])
        return self._compute(list(feeds))

    def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True
