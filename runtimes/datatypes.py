"""The protocol's datatypes and what they are called elsewhere (numpy, ONNX Runtime, Triton)."""

from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import ml_dtypes
import numpy as np


class Datatype(StrEnum):
    """A tensor element type, spelt as the Open Inference Protocol spells it."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    BF16 = "BF16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


# Little-endian, as the wire carries them. BYTES elements are `str` objects in an object array:
# ONNX Runtime reads numpy's fixed-width `S` arrays out of bounds, so nothing else may reach it.
DTYPES: Final[MappingProxyType[Datatype, np.dtype[Any]]] = MappingProxyType(
    {
        Datatype.BOOL: np.dtype("?"),
        Datatype.UINT8: np.dtype("<u1"),
        Datatype.UINT16: np.dtype("<u2"),
        Datatype.UINT32: np.dtype("<u4"),
        Datatype.UINT64: np.dtype("<u8"),
        Datatype.INT8: np.dtype("<i1"),
        Datatype.INT16: np.dtype("<i2"),
        Datatype.INT32: np.dtype("<i4"),
        Datatype.INT64: np.dtype("<i8"),
        Datatype.FP16: np.dtype("<f2"),
        Datatype.BF16: np.dtype(ml_dtypes.bfloat16),
        Datatype.FP32: np.dtype("<f4"),
        Datatype.FP64: np.dtype("<f8"),
        Datatype.BYTES: np.dtype(object),
    }
)
