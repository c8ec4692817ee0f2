"""What the sequences of a version start with: zeros, or what files in the model's folder hold."""

from pathlib import Path

import numpy as np

from runtimes.contract import Array
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError, ModelLoadError
from serving.registry.policies.sequence_policy import INITIAL_STATE_FOLDER, StateTensor
from serving.registry.version import VersionSpec
from serving.wire.tensors import decode_strings


def initial_states(spec: VersionSpec, *, max_batch_rows: int) -> tuple[Array, ...]:
    """Return one array for each state of a version, of one row where the model batches.

    Args:
        spec: The version; its states are those of its sequences, if it has any.
        max_batch_rows: 0 where the model has no batch dimension.

    Raises:
        ModelLoadError: A file cannot be read, or does not hold the state.
    """
    sequences = spec.policy.sequences
    states = () if sequences is None else sequences.states
    lead = (1,) if max_batch_rows else ()
    folder = spec.model_folder
    return tuple(_first(state, (*lead, *state.initial_dims), folder) for state in states)


def _first(state: StateTensor, shape: tuple[int, ...], folder: Path) -> Array:
    if state.initial_file:
        try:
            return _read(state, shape, folder / INITIAL_STATE_FOLDER / state.initial_file)
        except InvalidArgumentError as error:
            raise ModelLoadError(
                f"initial state of '{state.input_name}': {error.message}"
            ) from error
    if state.datatype is Datatype.BYTES:
        return np.full(shape, "", object)
    return np.zeros(shape, DTYPES[state.datatype])


def _read(state: StateTensor, shape: tuple[int, ...], file: Path) -> Array:
    try:
        size_bytes = file.stat().st_size
        raw = file.read_bytes()
    except OSError as error:
        raise InvalidArgumentError(
            f"'{state.initial_file}' cannot be read in the model's folder {INITIAL_STATE_FOLDER}: "
            f"{error.strerror}"
        ) from error
    if state.datatype is Datatype.BYTES:
        return decode_strings(raw, shape, name=state.input_name, model=state.initial_file)
    dtype = DTYPES[state.datatype]
    wanted_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size_bytes != wanted_bytes:
        raise InvalidArgumentError(
            f"'{state.initial_file}' has {size_bytes} bytes, and {state.datatype} "
            f"{list(state.initial_dims)} has {wanted_bytes}"
        )
    return np.frombuffer(raw, dtype).reshape(shape)
