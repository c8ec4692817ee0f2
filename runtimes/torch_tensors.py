"""Fast path. Numpy arrays ↔ torch tensors, on the CPU and on a CUDA device."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
import torch

from runtimes.contract import Array
from runtimes.datatypes import DTYPES, Datatype
from runtimes.devices import Device

BFLOAT16: Final = DTYPES[Datatype.BF16]
COPY_BYTES: Final = 65_536
"""Up to here a copy (1 to 2 µs) is cheaper than a writable view of a read-only array (2.7 µs)."""
PINNED_SHAPES: Final = 16  # staging buffers kept; each is page-locked memory, so few
CAPTURE_WARM_UPS: Final = 3  # as torch advises: libraries choose their algorithms in the first runs

DATATYPES: Final[MappingProxyType[torch.dtype, Datatype]] = MappingProxyType(
    {
        torch.bool: Datatype.BOOL,
        torch.uint8: Datatype.UINT8,
        torch.uint16: Datatype.UINT16,
        torch.uint32: Datatype.UINT32,
        torch.uint64: Datatype.UINT64,
        torch.int8: Datatype.INT8,
        torch.int16: Datatype.INT16,
        torch.int32: Datatype.INT32,
        torch.int64: Datatype.INT64,
        torch.float16: Datatype.FP16,
        torch.bfloat16: Datatype.BF16,
        torch.float32: Datatype.FP32,
        torch.float64: Datatype.FP64,
    }
)


class Placement(Protocol):
    """Carries tensors to a model's device and back."""

    def to_device(self, array: Array, position: int) -> torch.Tensor:
        """Return the tensor of input `position` on the device."""

    def run(self, forward: Callable[..., object], arguments: list[object]) -> object:
        """Call the model."""

    def to_host(self, tensors: list[torch.Tensor]) -> list[Array]:
        """Return finished results as C-contiguous arrays in host memory."""

    def close(self) -> None:
        """Give back what was kept between runs; the model itself is gone."""


class HostPlacement:
    """The CPU: nothing travels.

    Args:
        copies_inputs: The model writes into its inputs. They may be read-only, and a batch that
            failed is run again in parts, so it gets copies.
        copies_outputs: The model keeps tensors between runs, which a result may share.
    """

    def __init__(self, *, copies_inputs: bool, copies_outputs: bool) -> None:
        self._copies_inputs = copies_inputs
        self._copies_outputs = copies_outputs

    def to_device(self, array: Array, position: int) -> torch.Tensor:
        """Return a tensor over the array's memory where that is safe, else over a copy."""
        del position
        if self._copies_inputs:
            return tensor_of(array.copy())
        return tensor_of(array)

    def run(self, forward: Callable[..., object], arguments: list[object]) -> object:
        """Call the model."""
        return forward(*arguments)

    def to_host(self, tensors: list[torch.Tensor]) -> list[Array]:
        """Return arrays over the tensors' memory where that is safe."""
        if self._copies_outputs:
            return [
                array_of(tensor.clone(memory_format=torch.contiguous_format)) for tensor in tensors
            ]
        return [array_of(tensor) for tensor in tensors]

    def close(self) -> None:
        """Keep nothing, so give nothing back."""


class CudaPlacement:
    """A CUDA device: page-locked staging buffers, one stream, copies that do not block it."""

    def __init__(self, device: Device) -> None:
        self._device = torch.device("cuda", device.index)
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch has no types here
        self._staging: dict[tuple[int, tuple[int, ...], torch.dtype], torch.Tensor] = {}

    def to_device(self, array: Array, position: int) -> torch.Tensor:
        """Copy through the input's staging buffer, which is free: every run ends synchronised."""
        source = tensor_of(array)
        key = (position, array.shape, source.dtype)
        staged = self._staging.pop(key, None)
        if staged is None:
            staged = torch.empty(array.shape, dtype=source.dtype, pin_memory=True)
            if len(self._staging) >= PINNED_SHAPES:
                self._staging.pop(next(iter(self._staging)))
        self._staging[key] = staged
        staged.copy_(source)
        with torch.cuda.stream(self._stream):
            return staged.to(self._device, non_blocking=True)

    def run(self, forward: Callable[..., object], arguments: list[object]) -> object:
        """Call the model on the stream."""
        with torch.cuda.stream(self._stream):
            return forward(*arguments)

    def capture(
        self, forward: Callable[..., object], arguments: list[object]
    ) -> Callable[[list[object]], object]:
        """Capture a call; return what replays it on other arguments of the same shapes.

        What a replay returns is overwritten by the next one.
        """
        held = [one.clone() if isinstance(one, torch.Tensor) else one for one in arguments]
        with torch.cuda.stream(self._stream):
            for _ in range(CAPTURE_WARM_UPS):
                forward(*held)
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            returned = forward(*held)

        def replay(fresh: list[object]) -> object:
            with torch.cuda.stream(self._stream):
                for own, one in zip(held, fresh, strict=True):
                    if isinstance(own, torch.Tensor) and isinstance(one, torch.Tensor):
                        own.copy_(one, non_blocking=True)
                graph.replay()
            return returned

        return replay

    def to_host(self, tensors: list[torch.Tensor]) -> list[Array]:
        """Copy the results into page-locked memory of their own, and wait until they are there."""
        with torch.cuda.stream(self._stream):
            pinned = [
                torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors
            ]
            for host, tensor in zip(pinned, tensors, strict=True):
                host.copy_(tensor, non_blocking=True)
        self._stream.synchronize()
        return [array_of(host) for host in pinned]

    def close(self) -> None:
        """Drop the staging buffers, and give the device memory that nobody uses to others."""
        self._staging.clear()
        self._stream.synchronize()
        torch.cuda.empty_cache()


class _Writable:
    """Presents a read-only array's memory as writable.

    `torch.from_numpy` warns of read-only arrays since a tensor could be written to; used only for
    models that do not write into their inputs.
    """

    __slots__ = ("__array_interface__", "_keeps_alive")

    def __init__(self, array: Array) -> None:
        interface: dict[str, Any] = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
        self._keeps_alive = array


def tensor_of(array: Array) -> torch.Tensor:
    """Return a tensor of an array's values; large ones share its memory."""
    is_bf16 = array.dtype == BFLOAT16
    bits = array.view(np.int16) if is_bf16 else array
    if not bits.flags.writeable:
        bits = bits.copy() if bits.nbytes <= COPY_BYTES else np.asarray(_Writable(bits))
    tensor = torch.from_numpy(bits)
    return tensor.view(torch.bfloat16) if is_bf16 else tensor


def array_of(tensor: torch.Tensor) -> Array:
    """Return a C-contiguous array of a host tensor's values, BF16 bit for bit."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype is torch.bfloat16:
        bits: Array = tensor.view(torch.int16).numpy()
        return bits.view(BFLOAT16)
    array: Array = tensor.numpy()
    return array
