"""The echo runtime: returns its inputs. For tests, benchmarks of the wire, and the docs.

Its tensors are what the model's configuration declares; the file's content is not read.
"""

from collections.abc import Sequence

import numpy as np

from runtimes.contract import Array, LoadedModel, LoadRequest, TensorSpec
from runtimes.errors import ModelLoadError


class EchoModel:
    """Answers output i with input i."""

    def __init__(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
        self._inputs = inputs
        self._outputs = outputs

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Specs of the inputs, as declared."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Specs of the outputs, as declared."""
        return self._outputs

    def run(self, feeds: Sequence[Array | None]) -> list[Array]:
        """Return the feeds that belong to an output."""
        return [
            np.empty(0) if array is None else array
            for array, _ in zip(feeds, self._outputs, strict=False)
        ]

    def close(self) -> None:
        """Nothing to give back."""


class EchoRuntime:
    """Makes echo models."""

    platform = "echo"
    backend = "echo"

    def load(self, request: LoadRequest) -> LoadedModel:
        """Make a model of the declared tensors.

        Raises:
            ModelLoadError: Nothing is declared, or output i cannot be a copy of input i.
        """
        inputs, outputs = request.declared_inputs, request.declared_outputs
        if not inputs or len(outputs) > len(inputs):
            raise ModelLoadError(
                f"echo returns output i as a copy of input i, and its configuration lists "
                f"{len(inputs)} inputs and {len(outputs)} outputs: list as many inputs as outputs"
            )
        for given, back in zip(inputs, outputs, strict=False):
            if given.optional or (given.datatype, given.shape) != (back.datatype, back.shape):
                raise ModelLoadError(
                    f"echo cannot return input '{given.name}' as output '{back.name}': give both "
                    "the same datatype and dims, and make the input not optional"
                )
        return EchoModel(inputs, outputs)
