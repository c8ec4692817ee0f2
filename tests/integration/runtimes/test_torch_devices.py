"""Parameters and buffers that are elsewhere than the model was asked to run."""

import pytest
import torch

from runtimes.devices import CPU
from runtimes.errors import ModelLoadError
from runtimes.torch_devices import require_on_device


def test_a_buffer_elsewhere_is_named() -> None:
    """The module is refused with the tensor, its device and the one that was asked for."""
    state = {"weight": torch.zeros(1), "anchors": torch.zeros(1, device="meta")}

    says = "BP-T06 the model asks for cpu, and anchors is on meta"
    with pytest.raises(ModelLoadError, match=says) as seen:
        require_on_device(state.items(), CPU)
    assert seen.value.finding == "BP-T06"


def test_everything_on_the_device_is_well() -> None:
    """Nothing is said, of no tensors either."""
    require_on_device({"weight": torch.zeros(1)}.items(), CPU)
    require_on_device([], CPU)
