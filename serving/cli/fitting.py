"""Numbers that somebody brings, as a model takes them: never another number in their place."""

import numpy as np

from runtimes.contract import Array
from runtimes.datatypes import DTYPES, Datatype


def fitted(array: Array, datatype: Datatype) -> Array:
    """Return an array in a datatype of numbers.

    Raises:
        ValueError: A value is no number, or the datatype cannot hold it.
        TypeError: Likewise.
        OverflowError: Likewise.
    """
    if array.dtype.kind == "c":
        raise ValueError("complex numbers do not travel over the protocol")
    with np.errstate(invalid="ignore", over="ignore"):
        found = array.astype(DTYPES[datatype])
    if found.dtype.kind in "iub":
        odd = np.argwhere(found != array)
    elif array.dtype.kind == "f":
        odd = np.argwhere(np.isinf(found) & np.isfinite(array))
    else:
        return found
    if len(odd):
        place = tuple(int(index) for index in odd[0])
        value = array[place].item() if isinstance(array[place], np.generic) else array[place]
        raise ValueError(f"{list(place)} is {value}, which {datatype} cannot hold")
    return found
