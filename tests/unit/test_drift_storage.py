"""Profiles of drift as files, and what is made of tensors."""

import io
import json

import numpy as np
import pytest

from runtimes.errors import InvalidArgumentError
from serving.monitor.drift.columns import AnyArray, Role
from serving.monitor.drift.learning import Tensor, learn_tensors
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.reduction import Kind, learn_reduction, reduce_tensor
from serving.monitor.drift.storage import FACTS, MAX_BYTES, from_bytes, to_bytes
from tests.fakes.drift_rows import FEW, alarms_of

ROWS = 600


def tensor(name: str, role: Role, values: AnyArray) -> Tensor:
    """Name a tensor."""
    return Tensor(name=name, role=role, values=values)


def tensors(seed: int, rows: int = ROWS) -> list[Tensor]:
    """Inputs and outputs of every kind."""
    rng = np.random.default_rng(seed)
    shares = rng.random((rows, 5)) + 0.1
    text = np.array([b"a%d" % number for number in rng.integers(100, size=rows)], dtype=object)
    return [
        tensor("numbers", Role.INPUT, rng.standard_normal((rows, 3)).astype(np.float32)),
        tensor("colour", Role.INPUT, np.array([b"red", b"blue"])[rng.integers(2, size=rows)]),
        tensor("text", Role.INPUT, text[:, None]),
        tensor("wide", Role.INPUT, rng.standard_normal((rows, 200))),
        tensor("image", Role.INPUT, rng.integers(256, size=(rows, 3, 16, 16), dtype=np.uint8)),
        tensor("prob", Role.OUTPUT, shares / shares.sum(axis=1, keepdims=True)),
        tensor("embedding", Role.OUTPUT, rng.standard_normal((rows, 40))),
        tensor("value", Role.OUTPUT, rng.standard_normal((rows, 1))),
    ]


@pytest.fixture(scope="module")
def profile() -> Profile:
    """A profile of everything."""
    return learn_tensors(tensors(1), is_ordered=True, allowed=FEW)


def test_every_kind_of_tensor_is_reduced(profile: Profile) -> None:
    """Each tensor is looked at in its own way."""
    assert {r.tensor: r.kind for r in profile.reductions} == {
        "numbers": Kind.SCALARS,
        "colour": Kind.LEVELS,
        "text": Kind.TEXT,
        "wide": Kind.WIDE,
        "image": Kind.IMAGE,
        "prob": Kind.SOFTMAX,
        "embedding": Kind.EMBEDDING,
        "value": Kind.SCALARS,
    }
    assert len(profile.columns) == 3 + 1 + 2 + 16 + 6 + 3 + 9 + 1


def test_a_profile_is_read_as_it_was_written(profile: Profile) -> None:
    """The files give the same profile: its digest, its columns, its alarms, its own files."""
    packed = to_bytes(profile)
    again = from_bytes(packed)
    columns = again.columns_of({t.name: t.values for t in tensors(2)})

    assert again.digest == profile.digest
    assert to_bytes(again) == packed
    assert alarms_of(again, columns) == alarms_of(profile, columns) == []


def test_a_changed_tensor_is_found(profile: Profile) -> None:
    """Brighter images and a collapsed output are found, by name."""
    rows = {t.name: t.values for t in tensors(3)}
    brighter = profile.columns_of({**rows, "image": rows["image"] // 2 + 100})
    collapsed = profile.columns_of({**rows, "prob": np.eye(5)[np.zeros(ROWS, dtype=int)]})
    named = [
        profile.encoder.components[alarms_of(profile, columns)[0].component].features[0]
        for columns in (brighter, collapsed)
    ]

    assert named[0].startswith("image.")
    assert named[1].startswith("prob.")


def test_what_has_another_size_is_missing(profile: Profile) -> None:
    """Rows of another width, and tensors that are not there, are missing values, not errors."""
    rows = {t.name: t.values for t in tensors(3)}
    rows["wide"] = rows["wide"][:, :10]
    del rows["image"]
    columns = {c.name: c.values for c in profile.columns_of(rows)}

    assert np.isnan(columns["wide.mixture0"]).all()
    assert np.isnan(columns["image.mean"]).all()


def test_values_that_are_no_numbers_pass() -> None:
    """NaN and infinity in wide rows, images and shares make their row missing, nothing more."""
    for one in tensors(1):
        if one.values.dtype.kind in "OS":
            continue
        reduction = learn_reduction(one.name, one.role, one.values)
        odd = one.values.astype(np.float64)
        odd.reshape(ROWS, -1)[:, 0] = np.nan
        odd.reshape(ROWS, -1)[0, -1] = np.inf
        assert all(len(c.values) == ROWS for c in reduce_tensor(reduction, odd))


def stored(profile: Profile, **changes: object) -> bytes:
    """A profile whose JSON says something else."""
    with np.load(io.BytesIO(to_bytes(profile))) as packed:
        arrays = {name: packed[name] for name in packed.files}
    facts = {**json.loads(arrays[FACTS].tobytes()), **changes}
    arrays[FACTS] = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def test_a_changed_file_is_refused(profile: Profile) -> None:
    """A threshold that was edited by hand does not pass unnoticed."""
    with pytest.raises(InvalidArgumentError, match="says that its digest is"):
        from_bytes(stored(profile, threshold=100.0))


@pytest.mark.parametrize(
    "changes",
    [{"format": 1}, {"columns": []}, {"pairs": [[0, 99]]}, {"assumption": "none"}, {"rows": "x"}],
    ids=["format", "columns", "pairs", "assumption", "rows"],
)
def test_parts_that_do_not_fit_are_refused(profile: Profile, changes: dict[str, object]) -> None:
    """What does not fit together is refused in one sentence."""
    with pytest.raises(InvalidArgumentError, match="drift profile"):
        from_bytes(stored(profile, **changes))


def test_what_would_fill_the_memory_is_refused(profile: Profile) -> None:
    """A file says how large it becomes: it is asked before anything is unpacked."""
    packed = bytearray(to_bytes(profile))
    directory = packed.index(b"PK\1\2")
    packed[directory + 24 : directory + 28] = (MAX_BYTES + 1).to_bytes(4, "little")

    with pytest.raises(InvalidArgumentError, match="bytes once it is unpacked, at most"):
        from_bytes(bytes(packed))


@pytest.mark.parametrize("packed", [b"", b"{}", b"PK\x03\x04"], ids=["empty", "JSON", "broken"])
def test_what_is_no_profile_is_refused(packed: bytes) -> None:
    """Other files are refused in one sentence."""
    with pytest.raises(InvalidArgumentError, match="drift profile cannot be read"):
        from_bytes(packed)
