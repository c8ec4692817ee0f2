"""The flags of `bascule bench locust`."""

from pathlib import Path
from typing import Annotated

import typer

from serving.cli.locust.plan import Client, Transport
from serving.cli.locust.shapes import Shape

Model = Annotated[str, typer.Option(metavar="NAME", help="Its live version is asked.")]
Host = Annotated[
    str | None,
    typer.Option(
        "--url",
        "--host",
        metavar="[http://]HOST:PORT",
        help="Another server's HTTP listener; default: that of this home's instance.",
    ),
]
Grpc = Annotated[
    str | None,
    typer.Option("--grpc-url", "--grpc", metavar="HOST:PORT", help="Likewise its gRPC listener."),
]
TransportOption = Annotated[Transport, typer.Option(help="The users are shared out evenly.")]
ClientOption = Annotated[
    Client,
    typer.Option(
        help="Ask by Triton's client, as applications do, or send prepared bytes (raw), which "
        "costs this side less."
    ),
]
ShapeOption = Annotated[
    Shape,
    typer.Option(
        help="steady: all users at once; step: a quarter more each quarter of the time; spike: a "
        "fifth of them, and all in the middle fifth of the time; soak: a slow begin, then steady."
    ),
]
Users = Annotated[int, typer.Option(min=1, help="How many when most are there.")]
Duration = Annotated[str, typer.Option(metavar="60s", help="How long.")]
Rows = Annotated[int, typer.Option(min=1, help="Rows of made-up inputs.")]
JsonInput = Annotated[
    str | None, typer.Option(metavar="FILE|-", help="Inputs as JSON: {name: nested lists}.")
]
Rate = Annotated[
    float, typer.Option(min=0, help="Requests/s of each user; 0: as fast as answers come.")
]
Timeout = Annotated[float, typer.Option(min=0.001, help="Longest wait, seconds.")]
MaxP99 = Annotated[
    float | None,
    typer.Option("--max-p99-ms", min=0, help="Exit status 1 if a transport's p99 is above it."),
]
MaxFailureShare = Annotated[
    float,
    typer.Option(min=0, max=1, help="Exit status 1 if more of a transport's requests fail."),
]
Report = Annotated[
    Path | None, typer.Option(metavar="FILE.html", help="Write Locust's report here.")
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write plan and figures here.")
]
