"""What is asked of a registration of GPU memory before any worker opens it. Pure."""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from runtimes.cuda_ipc import HANDLE_BYTES
from runtimes.errors import InvalidArgumentError
from serving.wire.region_table import CudaRegion

CUDA_OFF: Final = (
    "CUDA shared memory is disabled: start the server with --cuda-shared-memory, or send tensors "
    "with the request or in system shared memory"
)
MAX_SIZE_BYTES: Final = 2**63 - 1


def decoded_handle(text: object) -> bytes:
    """Decode a handle as JSON carries it.

    Raises:
        InvalidArgumentError: It is no base64.
    """
    if not isinstance(text, str):
        raise InvalidArgumentError(
            "Unable to parse 'b64': attempt to access JSON non-string as string"
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgumentError(
            f"'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t: {error}"
        ) from error


def checked_region(asked: CudaRegion, gpus: Sequence[str]) -> CudaRegion:
    """Return a region that may be opened.

    Args:
        asked: What the client wants.
        gpus: Those that the server sees.

    Raises:
        InvalidArgumentError: There are none, or one of its numbers cannot be meant.
    """
    if not gpus:
        raise _failed(
            asked,
            "this server sees no NVIDIA GPU: install the driver or check CUDA_VISIBLE_DEVICES, or "
            "send tensors with the request or in system shared memory",
        )
    if len(asked.handle) != HANDLE_BYTES:
        raise InvalidArgumentError(
            "'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t "
            f"({HANDLE_BYTES} bytes expected, got {len(asked.handle)})"
        )
    if not 0 <= asked.device < len(gpus):
        raise _failed(
            asked,
            f"invalid args (device id {asked.device}, and this server sees the GPUs 0 to "
            f"{len(gpus) - 1})",
        )
    if not 1 <= asked.size_bytes <= MAX_SIZE_BYTES:
        raise _failed(asked, f"invalid args (byte size {asked.size_bytes})")
    return asked


def _failed(asked: CudaRegion, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"failed to register CUDA shared memory region '{asked.name}': {why}"
    )
