"""Fast path of versions that pad. Calls of different lengths → the engine's feeds, and back.

Each call is copied once, into its place of the batch; a batch of equal lengths, or of one call, is
built as anywhere else. Only the feeds are padded: calls stay as they came, and each one's outputs
have its own length before anybody looks at them.
"""

from collections.abc import Sequence

from runtimes.contract import Array, TensorSpec
from serving.wire.padding import Padding
from serving.worker.stacking import OutputRowsError, Stacked, Stacker, joined, single


class PaddedStacker(Stacker):
    """Builds the feeds of one version's batches and cuts its outputs."""

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        max_batch_rows: int,
        padding: Padding,
    ) -> None:
        """Take the model's specs, and how its calls are padded."""
        super().__init__(inputs, outputs, max_batch_rows=max_batch_rows)
        self._padding = padding
        self._padded = {one.place: one for one in padding.inputs}

    def feeds(self, batch: Sequence[Stacked], rows: int) -> list[Array | None]:
        """Return one array per input, padded to the longest call."""
        length = self._padded_length(batch)
        if not length:
            return super().feeds(batch, rows)
        feeds: list[Array | None] = []
        for place, (dtype, shape) in enumerate(
            zip(self._dtypes, batch[0].call.shapes, strict=True)
        ):
            tensors = [item.call.tensors[place] for item in batch]
            padded = self._padded.get(place)
            if shape is None:
                feeds.append(None)
            elif padded is None:
                feeds.append(joined(tensors, dtype, (rows, *shape[1:])))
            else:
                arrays = [
                    single(tensor, dtype, item.call.shapes[place] or ())
                    for tensor, item in zip(tensors, batch, strict=True)
                ]
                feeds.append(padded.joined(arrays, length))
        return feeds

    def split(
        self, batch: Sequence[Stacked], rows: int, outputs: Sequence[Array]
    ) -> list[Sequence[Array]]:
        """Return each call's outputs in its own length.

        Raises:
            OutputRowsError: An output does not follow rows or lengths.
        """
        parts = super().split(batch, rows, outputs)
        length = self._padded_length(batch)
        if not length:
            return parts
        for one, output in zip(self._padding.outputs, outputs, strict=True):
            if not one.fits(output.shape, length):
                raise OutputRowsError(
                    f"output '{one.name}' has shape {list(output.shape)} for calls padded to "
                    f"{length}, and cut_axes says {list(one.axes)}: it does not follow their length"
                )
        lengths = [self._padding.length(item.call.shapes) for item in batch]
        return [self._padding.cut(part, own) for part, own in zip(parts, lengths, strict=True)]

    def _padded_length(self, batch: Sequence[Stacked]) -> int:
        return self._padding.padded_length([item.call.shapes for item in batch])
