"""Pure: a call's custom parameters, in words that JSON has.

JSON has neither NaN nor infinity, so numbers that are not finite are written by their names, beside
the others. Logs that were written without these names have null in their place.
"""

from collections.abc import Mapping
from math import isfinite, isnan, nan
from typing import Literal

from serving.wire.parameters import Scalar

NotFinite = Literal["nan", "inf", "-inf"]


def not_finite(parameters: Mapping[str, Scalar | None]) -> dict[str, NotFinite]:
    """Return the names of numbers that JSON does not have."""
    return {
        name: "nan" if isnan(value) else "inf" if value > 0 else "-inf"
        for name, value in parameters.items()
        if isinstance(value, float) and not isfinite(value)
    }


def whole_parameters(
    written: Mapping[str, Scalar | None], others: Mapping[str, NotFinite]
) -> dict[str, Scalar]:
    """Return the parameters as they came.

    Args:
        written: As JSON has them; null was a number that is not finite, nobody knows which.
        others: What `not_finite` said of the rest.
    """
    known = {name: nan if value is None else value for name, value in written.items()}
    return known | {name: float(word) for name, word in others.items()}
