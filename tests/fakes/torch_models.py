"""Small torch modules to script, for the tests of the TorchScript runtime.

Importing this module imports torch.
"""

import torch
from torch import Tensor, nn

from tests.fakes.models import BIAS, WEIGHT, torchscript


class Tiny(nn.Module):
    """x FP32 [N,16] → y FP32 [N,4], equal to the ONNX `tiny`."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(WEIGHT.copy()), requires_grad=False)
        self.bias = nn.Parameter(torch.from_numpy(BIAS.copy()), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute x @ WEIGHT + BIAS."""
        return x @ self.weight + self.bias


class Identity(nn.Module):
    """Any tensor, returned as it came."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the input itself."""
        return x


class Transposed(nn.Module):
    """A result that is not contiguous."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a view with swapped dimensions."""
        return x.transpose(0, 1)


class Scaled(nn.Module):
    """A tensor and single values: x * factor + offset, the offset optional."""

    def forward(self, x: Tensor, factor: int, twice: bool = False) -> tuple[Tensor, Tensor]:  # noqa: FBT001, FBT002  what TorchScript calls by position
        """Return the product, and its double or zero."""
        product = x * factor
        return product, product * (2 if twice else 0)


class Listed(nn.Module):
    """As many results as the tensor has rows."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the rows."""
        return [row for row in x]  # noqa: C416  TorchScript knows no list(tensor)


class Counted(nn.Module):
    """Takes as many turns as the first element says."""

    def forward(self, x: Tensor) -> Tensor:
        """Add one in each turn."""
        for _ in range(int(x[0].item())):
            x = x + 1
        return x


class Named(nn.Module):
    """Returns a dictionary, which cannot be served."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the input under a name."""
        return {"y": x}


class Counting(nn.Module):
    """Keeps state: adds the number of calls so far."""

    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the running total, and share its memory."""
        self.total.add_(x.sum())
        return self.total


class Sliced(nn.Module):
    """Keeps state in a part of a buffer: its first row is the last call's first row."""

    kept: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(2, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the buffer itself."""
        self.kept[0] = x[0]
        return self.kept


class Outward(nn.Module):
    """Keeps state: lets an operator write its result into a buffer."""

    kept: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(2, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the buffer itself."""
        torch.mul(x, 1.0, out=self.kept)
        return self.kept


class Chunked(nn.Module):
    """Keeps state in one of the parts into which a buffer was cut."""

    kept: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(2, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the buffer itself."""
        first, _ = self.kept.chunk(2)
        first.copy_(x[:1])
        return self.kept


class Scratch(nn.Module):
    """Writes into a tensor of its own, which it has made from a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the parameter, with the first row of x added to its first row."""
        fresh = self.weight * 1
        fresh[0] += x[0]
        return fresh


class Writing(nn.Module):
    """Writes into its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Double the input in place."""
        return x.mul_(2)


class Refusing(nn.Module):
    """Checks its input and raises."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the input if it is positive."""
        if bool((x < 0).any()):
            raise ValueError("negative amounts are not allowed")
        return x


class Normalised(nn.Module):
    """Batch normalisation in eval mode: has counters, keeps no state."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise and rectify."""
        return torch.relu(self.norm(x))


def tiny_ts() -> bytes:
    """Script `Tiny`."""
    return torchscript(Tiny().eval())


class LongSum(nn.Module):
    """x FP32 [N,4] → y FP32 [N,1]: a sum of a million products, whose order threads decide."""

    def __init__(self) -> None:
        super().__init__()
        numbers = torch.rand(1 << 20, generator=torch.Generator().manual_seed(1))
        # Of both signs: the sum is small, and the order of its terms shows in many bits.
        self.weight = nn.Parameter(numbers - 0.5, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Sum up the row's mean times every weight."""
        return (x.mean(dim=1, keepdim=True) * self.weight).sum(dim=1, keepdim=True)
