"""What lies beside a model's versions and is read at load: class names, and data to warm up with.

Warm-up samples go the way of calls: the same checks, the same feeds. One that fails fails the load.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from runtimes.contract import LoadedModel, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import EngineError, InvalidArgumentError, ModelLoadError
from runtimes.generated_feeds import make_feeds
from runtimes.signature import Signature
from serving.registry.version import (
    WARMUP_FOLDER,
    VersionSpec,
    WarmupInput,
    WarmupSample,
)
from serving.wire.call import CallSpec, InferCall
from serving.wire.input_checks import GivenInput, InputChecks
from serving.wire.tensors import Tensor
from serving.worker.stacking import Stacker

MAX_LABEL_BYTES: Final = 16 << 20
MAX_WARMUP_BYTES: Final = 1 << 30
EMPTY_TEXT: Final = bytes(4)
"""A BYTES element of no bytes, as the wire carries it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Class names, for each output by its place."""

    names: tuple[tuple[str, ...], ...] = ()
    note: str = ""
    """What is missing, for people."""


@dataclass(slots=True)
class _OneCall:
    rows: int
    call: InferCall


def read_labels(outputs: Sequence[TensorSpec], spec: VersionSpec) -> Labels:
    """Read the class names that a version's configuration points to.

    A bundle without the file is served without names: whoever packed it was told.

    Raises:
        ModelLoadError: A file is not there, or is no text.
    """
    if not spec.policy.labels:
        return Labels()
    named: dict[str, tuple[str, ...]] = {}
    missing: list[str] = []
    for one in spec.policy.labels:
        file = spec.model_folder / one.file
        if spec.folder and not file.is_file():
            missing.append(one.file)
            continue
        named[one.output] = tuple(_text(file, one.file).splitlines())
    note = f"without labels: {', '.join(missing)} is not in the bundle" if missing else ""
    return Labels(names=tuple(named.get(output.name, ()) for output in outputs), note=note)


def run_warmups(model: LoadedModel, signature: Signature, spec: VersionSpec) -> str:
    """Make the calls that a version's configuration lists; return what was done, for people.

    Raises:
        ModelLoadError: One cannot be made, or fails.
    """
    samples = spec.policy.warmups
    if not samples:
        return ""
    calls = _Calls(signature, spec)
    for sample in samples:
        try:
            feeds = calls.feeds(sample)
            for _ in range(sample.run_count):
                model.run(feeds)
        except (InvalidArgumentError, EngineError) as error:
            raise ModelLoadError(
                f"model_warmup '{sample.name}' fails: {error.message}; correct the sample, or "
                "leave it out"
            ) from error
    runs = sum(sample.run_count for sample in samples)
    return f"warmed up with {len(samples)} configured samples in {runs} runs"


class _Calls:
    """Makes calls of a version's own warm-up data."""

    def __init__(self, signature: Signature, spec: VersionSpec) -> None:
        self._folder = spec.model_folder / WARMUP_FOLDER
        sequences = spec.policy.sequences
        hidden = () if sequences is None else sequences.first_specs()
        self._hidden = tuple(
            WarmupInput(name=one.name, datatype=one.datatype, shape=one.shape) for one in hidden
        )
        self._is_batched = signature.max_batch_rows > 0
        self._checks = InputChecks(
            CallSpec(
                model=spec.model,
                version=spec.version,
                inputs=signature.inputs,
                outputs=signature.outputs,
                max_batch_rows=signature.max_batch_rows,
            )
        )
        self._stacker = Stacker(
            signature.inputs, signature.outputs, max_batch_rows=signature.max_batch_rows
        )

    def feeds(self, sample: WarmupSample) -> list[np.ndarray | None]:
        if sample.rows > 1 and not self._is_batched:
            raise InvalidArgumentError(
                f"batch_size is {sample.rows}, and the model has no batch dimension"
            )
        lead = (sample.rows,) if self._is_batched else ()
        named = {one.name for one in sample.inputs}
        inputs = (*sample.inputs, *(one for one in self._hidden if one.name not in named))
        given = [GivenInput(one.name, one.datatype, (*lead, *one.shape)) for one in inputs]
        plan = self._checks.plan_inputs(given, sample.name)
        data = [self._data(one, sample.rows) for one in inputs]
        call = InferCall(
            id="",
            rows=plan.rows,
            shapes=plan.shapes,
            stack_key=plan.stack_key,
            tensors=self._checks.take_tensors(plan, data, sample.name),
            outputs=(),
        )
        return self._stacker.feeds([_OneCall(plan.rows, call)], plan.rows)

    def _data(self, one: WarmupInput, rows: int) -> Tensor:
        """Return a tensor's data, the same for every row."""
        if one.source == "file":
            return _read(self._folder / one.file, one.file, MAX_WARMUP_BYTES) * rows
        if one.source == "random":
            spec = TensorSpec(name=one.name, datatype=one.datatype, shape=one.shape)
            made = make_feeds([spec], rows=None, free_size=1)
            array = None if made is None else made[0]
            if array is None:
                raise InvalidArgumentError(f"input '{one.name}' is too large to make up")
            whole = np.concatenate([array.reshape(1, -1)] * rows)
            return whole if one.datatype is Datatype.BYTES else whole.tobytes()
        count = int(np.prod(one.shape, dtype=np.int64)) * rows
        if one.datatype is Datatype.BYTES:
            return EMPTY_TEXT * count
        return bytes(DTYPES[one.datatype].itemsize * count)


def _text(file: Path, name: str) -> str:
    try:
        return _read(file, name, MAX_LABEL_BYTES).decode()
    except UnicodeDecodeError as error:
        raise ModelLoadError(f"label_filename '{name}' is not UTF-8 text: {error}") from error
    except InvalidArgumentError as error:
        raise ModelLoadError(f"label_filename: {error.message}") from error


def _read(file: Path, name: str, limit_bytes: int) -> bytes:
    try:
        size_bytes = file.stat().st_size
        if size_bytes > limit_bytes:
            raise InvalidArgumentError(
                f"'{name}' has {size_bytes} bytes: at most {limit_bytes} are read"
            )
        return file.read_bytes()
    except OSError as error:
        raise InvalidArgumentError(
            f"'{name}' cannot be read in the model's folder: {error.strerror}"
        ) from error
