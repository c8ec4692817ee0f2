"""Fast path. Which outputs does a call want, and can they be sent as it asks?"""

from collections.abc import Sequence
from typing import Final

import msgspec

from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.wire.call import CallSpec, OutputAsk
from serving.wire.input_checks import with_request_id
from serving.wire.regions import REGION, RegionSpan

_CLASSIFIABLE: Final = frozenset(Datatype) - {
    Datatype.BOOL,
    Datatype.FP16,
    Datatype.BF16,
    Datatype.BYTES,
}
_NO_JSON: Final = frozenset({Datatype.FP16, Datatype.BF16})


class GivenOutput(msgspec.Struct, frozen=True):
    """What a request says of one output that it wants."""

    name: str
    binary: bool
    classification: int = 0
    region: RegionSpan | None = None


class OutputChecks:
    """The output checks of one version."""

    def __init__(self, spec: CallSpec) -> None:
        """Index the outputs of `spec` by name."""
        self._spec = spec
        self._outputs = {tensor.name: index for index, tensor in enumerate(spec.outputs)}
        self._all_binary = tuple(
            [OutputAsk(index=index, binary=True) for index in range(len(spec.outputs))]
        )

    def all_outputs(self, *, binary: bool) -> tuple[OutputAsk, ...]:
        """Return the asks of a request that lists no outputs.

        Raises:
            InvalidArgumentError: An output cannot be sent as JSON.
        """
        if binary:
            return self._all_binary
        return tuple(
            self._ask(k, GivenOutput(tensor.name, binary=False))
            for k, tensor in enumerate(self._spec.outputs)
        )

    def listed_outputs(
        self, given: Sequence[GivenOutput], request_id: str
    ) -> tuple[OutputAsk, ...]:
        """Check the outputs that a request lists.

        Raises:
            InvalidArgumentError: One is unknown or listed twice, or cannot be sent as asked.
        """
        asks: dict[int, OutputAsk] = {}
        for output in given:
            index = self._outputs.get(output.name)
            if index is None:
                raise InvalidArgumentError(
                    f"unexpected inference output '{output.name}' for model '{self._spec.model}'"
                )
            if index in asks:
                error = InvalidArgumentError(f"output '{output.name}' already exists in request")
                raise with_request_id(error, request_id)
            asks[index] = self._ask(index, output)
        return tuple(asks[index] for index in sorted(asks))

    def _ask(self, index: int, output: GivenOutput) -> OutputAsk:
        datatype = self._spec.outputs[index].datatype
        if output.region is not None:
            return _region_ask(index, output, output.region)
        if output.classification:
            if datatype not in _CLASSIFIABLE:
                raise InvalidArgumentError(
                    "class result not available for output due to unsupported type "
                    f"'{datatype}': output '{output.name}'"
                )
        elif not output.binary and datatype in _NO_JSON:
            raise InvalidArgumentError(
                f"sending {datatype} data via JSON is not supported. Please use the binary data "
                f"format for output {output.name}"
            )
        return OutputAsk(index, output.binary, output.classification)


def _region_ask(index: int, output: GivenOutput, region: RegionSpan) -> OutputAsk:
    if output.classification:
        raise InvalidArgumentError(
            f"output '{output.name}' sets both '{REGION}' and 'classification': classes are sent "
            "with the reply only"
        )
    return OutputAsk(index, binary=True, region=region)
