"""The flags of `bascule loadtest`."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Its live version is asked.")]
LedgerFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write every request here, as JSON lines.")
]
Duration = Annotated[str, typer.Option(metavar="60s", help="How long.")]
HttpClients = Annotated[
    int | None, typer.Option(min=0, help="Over HTTP. Default: 4; with --sequence none.")
]
GrpcClients = Annotated[
    int | None, typer.Option(min=0, help="Over gRPC. Default: 4; with --sequence none.")
]
Streams = Annotated[int, typer.Option(min=0, help="Clients with a gRPC stream.")]
Sequences = Annotated[
    int, typer.Option(min=0, help="Clients of sequences, for a model with sequence_batching.")
]
SequenceSteps = Annotated[int, typer.Option(min=1, help="Requests of a sequence.")]
NewConnections = Annotated[
    float, typer.Option(min=0, max=1, help="Share of clients that connect for each request.")
]
Rate = Annotated[
    float, typer.Option(min=0, help="Requests/s of each client; 0: as fast as answers come.")
]
BodyBytes = Annotated[
    str, typer.Option(metavar="N,…", help="Sizes of made-up inputs; clients take turns.")
]
JsonInput = Annotated[
    str | None, typer.Option(metavar="FILE|-", help="Inputs as JSON: {name: nested lists}.")
]
Expect = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Right outputs: {version: {name: nested lists}}. Without it, each version is asked "
        "by its number.",
    ),
]
Rtol = Annotated[float, typer.Option(min=0, help="Numbers may differ by this share.")]
Atol = Annotated[float, typer.Option(min=0, help="And by this much.")]
Timeout = Annotated[float, typer.Option(min=0.001, help="Longest wait, seconds.")]
Http = Annotated[
    str | None,
    typer.Option(
        "--url",
        "--http",
        metavar="HOST:PORT",
        help="Another server's HTTP listener; default: that of this home's instance.",
    ),
]
Grpc = Annotated[
    str | None,
    typer.Option("--grpc-url", "--grpc", metavar="HOST:PORT", help="Likewise its gRPC listener."),
]
Check = Annotated[
    Path | None, typer.Option(metavar="LEDGER", help="Ask nothing: judge this ledger again.")
]
Flips = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="When traffic went from version to version, as JSON lines: from_version, to_version, "
        "began_utc, done_utc. No answer may come from a version that was not live when its "
        "request was sent.",
    ),
]
Rollouts = Annotated[
    bool,
    typer.Option("--rollouts", help="As --flips, from the rollouts that the instance recorded."),
]
