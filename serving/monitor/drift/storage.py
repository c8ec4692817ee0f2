"""A profile as a file, the `reference.drift` of a bundle, and back. Pure: bytes in, bytes out.

Of the arrays in it, `profile` is JSON that says what there is; the others are its numbers. The
digest is of what they mean, so the same profile has the same digest wherever it is written. What is
read is checked: a bundle's author is not trusted.
"""

import io
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import numpy as np

from runtimes.errors import InvalidArgumentError
from serving.monitor.drift.calibration import Assumption, Calibration, FalseAlarms
from serving.monitor.drift.columns import AnyArray, Role
from serving.monitor.drift.deviation import Baseline
from serving.monitor.drift.encoding import ColumnReference, Encoder
from serving.monitor.drift.level_codec import MAX_KNOWN, LevelReference
from serving.monitor.drift.number_codec import MAX_CUTS, NumberReference
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.reduction import Kind, Reduction
from serving.monitor.drift.windows import WINDOWS

FORMAT: Final = 2
MAX_BYTES: Final = 1 << 30
"""Of all that is in a file, once it is unpacked: a hundred kilobytes may stand for a hundred MB."""
FACTS: Final = "profile"
"""The array that has JSON, in bytes."""


def to_bytes(profile: Profile) -> bytes:
    """Write a profile."""
    text = json.dumps({**_facts(profile), "digest": profile.digest}, sort_keys=True)
    arrays = {**_arrays(profile), FACTS: np.frombuffer(text.encode(), dtype=np.uint8)}
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    return packed.getvalue()


def digest_of(profile: Profile) -> str:
    """Return the digest of all that decides."""
    digest = sha256(json.dumps(_facts(profile), sort_keys=True).encode())
    for name, array in sorted(_arrays(profile).items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def from_bytes(packed: bytes) -> Profile:
    """Read a profile.

    Raises:
        InvalidArgumentError: It is not one, is too large, or its parts do not fit together.
    """
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
            _require_size(sum(member.file_size for member in stored.zip.infolist()))
            arrays = {name: stored[name] for name in stored.files}
        text = json.loads(arrays.pop(FACTS).tobytes())
        profile = _profile(text, arrays)
    except InvalidArgumentError:
        raise
    except Exception as error:
        raise InvalidArgumentError(
            f"the drift profile cannot be read ({type(error).__name__}: {error}): make it "
            "again with `bascule drift learn`"
        ) from error
    if text["digest"] != profile.digest:
        raise InvalidArgumentError(
            f"the drift profile says that its digest is {str(text['digest'])[:12]}, but it is "
            f"{profile.digest[:12]}: make it again with `bascule drift learn`"
        )
    return profile


def _require_size(size_bytes: int) -> None:
    """Refuse what would fill the memory; no member gives more than it says here."""
    if size_bytes > MAX_BYTES:
        raise InvalidArgumentError(
            f"the drift profile has {size_bytes} bytes once it is unpacked, at most {MAX_BYTES}: "
            "learn it of fewer columns"
        )


def _facts(profile: Profile) -> dict[str, Any]:
    allowed = profile.allowed
    return {
        "format": FORMAT,
        "rows": profile.baseline.rows,
        "assumption": profile.assumption.value,
        "threshold": profile.calibration.threshold,
        "threshold_scale": profile.calibration.scale,
        "autocorrelation_time": profile.autocorrelation_time,
        "false_alarms": {
            "probability": allowed.probability,
            "horizon_rows": allowed.horizon_rows,
            "replicates": allowed.replicates,
            "seed": allowed.seed,
        },
        "columns": [_column_facts(column) for column in profile.columns],
        "pairs": [list(pair) for pair in profile.pairs],
        "reductions": [
            {"tensor": r.tensor, "role": r.role.value, "kind": r.kind.value, "shape": list(r.shape)}
            for r in profile.reductions
        ],
    }


def _column_facts(column: ColumnReference) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": column.name, "role": column.role.value}
    if isinstance(column, LevelReference):
        facts["levels"] = [level.decode("latin-1") for level in column.levels]
    return facts


def _arrays(profile: Profile) -> dict[str, AnyArray]:
    arrays: dict[str, AnyArray] = {
        "means": profile.baseline.means,
        "sds": profile.baseline.sds,
        "units": profile.calibration.units,
        "bins": profile.bins,
    }
    for place, column in enumerate(profile.columns):
        if isinstance(column, NumberReference):
            arrays[f"cuts{place}"] = column.cuts
            arrays[f"range{place}"] = np.array([column.low, column.high, column.mean, column.sd])
    for place, reduction in enumerate(profile.reductions):
        for name, axes in reduction.axes.items():
            arrays[f"reduction{place}.{name}"] = axes
    return arrays


def _profile(text: dict[str, Any], arrays: Mapping[str, AnyArray]) -> Profile:
    if text["format"] != FORMAT:
        raise InvalidArgumentError(
            f"the drift profile has format {text['format']!r}, this version reads {FORMAT}"
        )
    columns = [_column(facts, place, arrays) for place, facts in enumerate(text["columns"])]
    pairs = [(int(left), int(right)) for left, right in text["pairs"]]
    encoder = Encoder(columns, pairs)
    _check_shapes(encoder, arrays)
    flags = np.flatnonzero([c.is_flag for c in encoder.components])
    profile = Profile(
        reductions=[_reduction(facts, i, arrays) for i, facts in enumerate(text["reductions"])],
        columns=columns,
        pairs=pairs,
        baseline=Baseline(
            rows=int(text["rows"]), means=arrays["means"], sds=arrays["sds"], flags=flags
        ),
        bins=arrays["bins"],
        calibration=Calibration(
            units=arrays["units"],
            threshold=float(text["threshold"]),
            scale=float(text["threshold_scale"]),
        ),
        assumption=Assumption(text["assumption"]),
        autocorrelation_time=float(text["autocorrelation_time"]),
        allowed=FalseAlarms(**text["false_alarms"]),
        digest="",
    )
    return profile.with_digest(digest_of(profile))


def _column(facts: dict[str, Any], place: int, arrays: Mapping[str, AnyArray]) -> ColumnReference:
    name, role = str(facts["name"]), Role(facts["role"])
    if "levels" in facts:
        levels = tuple(str(level).encode("latin-1") for level in facts["levels"][:MAX_KNOWN])
        return LevelReference(name=name, role=role, levels=levels)
    cuts = arrays[f"cuts{place}"].astype(np.float64)
    if cuts.ndim != 1 or len(cuts) > MAX_CUTS or (np.diff(cuts) < 0).any():
        raise InvalidArgumentError(
            f"the drift profile's cuts of column {name!r} are no {MAX_CUTS} quantiles in order"
        )
    low, high, mean, sd = arrays[f"range{place}"].tolist()
    return NumberReference(name=name, role=role, cuts=cuts, low=low, high=high, mean=mean, sd=sd)


def _reduction(facts: dict[str, Any], place: int, arrays: Mapping[str, AnyArray]) -> Reduction:
    start = f"reduction{place}."
    return Reduction(
        tensor=str(facts["tensor"]),
        role=Role(facts["role"]),
        kind=Kind(facts["kind"]),
        shape=tuple(int(side) for side in facts["shape"]),
        axes={
            name.removeprefix(start): array
            for name, array in arrays.items()
            if name.startswith(start)
        },
    )


def _check_shapes(encoder: Encoder, arrays: Mapping[str, AnyArray]) -> None:
    count = len(encoder.components)
    expected: dict[str, Sequence[int]] = {
        "means": (count,),
        "sds": (count,),
        "units": (len(WINDOWS), count),
        "bins": (int(encoder.bin_starts[-1]),),
    }
    for name, shape in expected.items():
        if arrays[name].shape != tuple(shape) or np.isnan(arrays[name]).any():
            raise InvalidArgumentError(
                f"the drift profile's {name} have shape {arrays[name].shape}, its columns need "
                f"{tuple(shape)}: make it again with `bascule drift learn`"
            )
