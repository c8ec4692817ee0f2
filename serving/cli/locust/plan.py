"""What one run of Locust shall do: written by the command, read by the process that is Locust."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from runtimes.contract import TensorSpec
from serving.cli.locust.shapes import Shape, Stage, stages
from serving.cli.predict_tensors import NamedTensor, made_up_tensors, tensors_from_json
from serving.host_port import HostPort


class Transport(StrEnum):
    """Over what is asked."""

    HTTP = "http"
    GRPC = "grpc"
    BOTH = "both"


NAMES: Final = {Transport.HTTP: "HTTP", Transport.GRPC: "gRPC"}
"""As reports call them."""


class Client(StrEnum):
    """Who asks: Triton's own client, or prepared bytes, which cost this side the least."""

    TRITONCLIENT = "tritonclient"
    RAW = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Who asks what, where, how many at a time and for how long."""

    model: str
    http: HostPort
    grpc: HostPort
    transport: Transport
    client: Client
    shape: Shape
    user_count: int
    duration_s: float
    rate: float
    """Requests per second of each user; 0: the next one as soon as an answer is there."""
    row_count: int
    limit_s: float
    """Longest wait for an answer."""
    inputs: tuple[TensorSpec, ...]
    """By the server's metadata."""
    json_input: str = ""
    """The inputs as JSON; empty: they are made up, the same ones each time."""

    def tensors(self) -> tuple[NamedTensor, ...]:
        """Return what every request carries.

        Raises:
            InvalidArgumentError: The inputs do not suit the model.
        """
        if self.json_input:
            return tensors_from_json(self.json_input, self.inputs)
        return made_up_tensors(self.inputs, self.row_count)

    def transports(self) -> tuple[Transport, ...]:
        """Return each transport that is used."""
        if self.transport is Transport.BOTH:
            return (Transport.HTTP, Transport.GRPC)
        return (self.transport,)

    def stages(self) -> tuple[Stage, ...]:
        """Return how many users there are when."""
        return stages(
            self.shape,
            user_count=self.user_count,
            duration_s=self.duration_s,
            least_count=len(self.transports()),
        )

    def text(self) -> str:
        """Say it in a line, for a report."""
        return (
            f"{self.model}, {self.row_count} rows; {self.user_count} users ({self.client}) over "
            f"{' and '.join(NAMES[one] for one in self.transports())}; {self.shape}, "
            f"{self.duration_s:g} s" + (f"; {self.rate:g} requests/s each" if self.rate else "")
        )


def write_plan(plan: Plan, file: Path) -> None:
    """Write a plan where the other process finds it."""
    file.write_bytes(msgspec.json.encode(plan))


def read_plan(file: Path) -> Plan:
    """Read what `write_plan` wrote."""
    return msgspec.json.decode(file.read_bytes(), type=Plan)
