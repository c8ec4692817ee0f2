"""Shows by running that a model's rows do not touch each other, so that calls may be joined.

Shapes cannot tell: a free first dimension may be time, and a model with a batch dimension may mix
its rows (batch statistics, dynamic quantisation). Joining calls to such a model would give clients
each other's answers, so without proof it is served one call at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from runtimes.contract import Array, LoadedModel, Noted, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import EngineError, InvalidArgumentError
from runtimes.generated_feeds import FREE_SIZES, make_feeds
from runtimes.signature import (
    DEFAULT_MAX_BATCH_ROWS,
    Configured,
    Signature,
    read_signature,
)

PROOF_ROWS: Final = 4
SMALLER_GROUPS: Final = ((1, 0), (3, 1, 2))
"""Batches of other sizes, and not in order."""

# Largest difference that other companions may make to a row in a batch of the same size, as a share
# of the row's largest value. Real models measured 0 to 3e-8; anything more is an influence.
COMPANION_TOLERANCES: Final = {
    Datatype.FP64: 1e-9,
    Datatype.FP32: 3e-5,
    Datatype.FP16: 4e-3,
    Datatype.BF16: 3e-2,
}
SIZE_TOLERANCE: Final = 0.05
"""Largest difference that the number of rows may make. Engines choose other kernels for other
sizes, and a network that normalises nearly constant values magnifies the last bit: magika gives
0.0193 on made-up bytes (1e-7 on real ones), although no row ever changes another."""


def settle_signature(
    model: LoadedModel,
    configured: Configured,
    *,
    default_max_batch_rows: int = DEFAULT_MAX_BATCH_ROWS,
) -> Signature:
    """Return what calls to a loaded model look like, with the batch dimension proven.

    Raises:
        ModelLoadError: Model and configuration contradict each other.
    """
    signature = read_signature(
        model.inputs,
        model.outputs,
        configured,
        default_max_batch_rows=default_max_batch_rows,
    )
    if not signature.unproven:
        return signature
    keeps_state = isinstance(model, Noted) and bool(model.notes)
    doubt = "the model keeps state" if keeps_state else why_rows_may_touch(model, signature)
    if doubt is not None:
        return signature.without_batch(
            f"calls are not joined: {doubt}; set max_batch_size in the configuration to join them"
        )
    return signature.proven(
        f"max_batch_size {signature.max_batch_rows} was inferred: {PROOF_ROWS} rows gave the same "
        "answers together and alone"
    )


def why_rows_may_touch(model: LoadedModel, signature: Signature) -> str | None:
    """Run rows alone and in several companies; return why they may touch, or None.

    Args:
        model: The loaded model.
        signature: Its signature with a batch dimension.
    """
    reason = "its inputs are too large to make up"
    for free_size in FREE_SIZES:
        rows = make_feeds(signature.inputs, rows=PROOF_ROWS, free_size=free_size)
        others = make_feeds(signature.inputs, rows=PROOF_ROWS, free_size=free_size, seed=1)
        if rows is None or others is None:
            continue
        try:
            together = model.run(rows)
            trial = _Trial(model=model, specs=signature.outputs, rows=rows, together=together)
            return trial.wrong_shape() or trial.influence(others) or trial.size_effect()
        except (InvalidArgumentError, EngineError) as error:
            reason = error.message
    return f"it refuses made-up rows ({reason})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """A batch of made-up rows and its answers; each test returns a reason to doubt, or None."""

    model: LoadedModel
    specs: Sequence[TensorSpec]
    rows: Sequence[Array | None]
    together: Sequence[Array]

    def wrong_shape(self) -> str | None:
        for spec, found in zip(self.specs, self.together, strict=True):
            if found.shape[:1] != (PROOF_ROWS,):
                return f"{PROOF_ROWS} rows gave output '{spec.name}' shape {list(found.shape)}"
        return None

    def influence(self, others: Sequence[Array | None]) -> str | None:
        """Put each row among other companions, the batch's size and the row's place being equal."""
        strangers = _pick(others, range(PROOF_ROWS)[::-1])  # of other magnitudes than the places'
        for row in range(PROOF_ROWS):
            mixed = [
                None if own is None or alien is None else _replaced(alien, own, row)
                for own, alien in zip(self.rows, strangers, strict=True)
            ]
            found = self.model.run(mixed)
            for index, spec in enumerate(self.specs):
                tolerance = COMPANION_TOLERANCES.get(spec.datatype, 0.0)
                if not _same(found[index][row], self.together[index][row], tolerance):
                    return f"output '{spec.name}' of a row changes when other rows are beside it"
        return None

    def size_effect(self) -> str | None:
        """Run each row alone, and in smaller batches."""
        for group in (*((row,) for row in range(PROOF_ROWS)), *SMALLER_GROUPS):
            found = self.model.run(_pick(self.rows, group))
            for index, spec in enumerate(self.specs):
                expected = self.together[index][list(group)]
                tolerance = SIZE_TOLERANCE if spec.datatype in COMPANION_TOLERANCES else 0.0
                if not _same(found[index], expected, tolerance):
                    return f"output '{spec.name}' of a row changes with the number of rows"
        return None


def _pick(feeds: Sequence[Array | None], rows: Sequence[int]) -> list[Array | None]:
    return [None if array is None else np.ascontiguousarray(array[list(rows)]) for array in feeds]


def _replaced(alien: Array, own: Array, row: int) -> Array:
    mixed = alien.copy()
    mixed[row] = own[row]
    return mixed


def _same(found: Array, expected: Array, tolerance: float) -> bool:
    if found.shape != expected.shape:
        return False
    if tolerance == 0.0:
        return bool(np.array_equal(found, expected))
    values, wanted = found.astype(np.float64), expected.astype(np.float64)
    finite = np.abs(wanted[np.isfinite(wanted)])
    scale = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(values, wanted, rtol=0.0, atol=tolerance * scale, equal_nan=True))
