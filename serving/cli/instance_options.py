"""The options that `bascule serve` and `bascule up` share: both start an instance."""

from pathlib import Path
from typing import Annotated

import typer

ModelRepository = Annotated[Path | None, typer.Option(help="Folder of models in Triton's layout.")]
Http = Annotated[str | None, typer.Option(help="HTTP listener, HOST:PORT.")]
Grpc = Annotated[str | None, typer.Option(help="gRPC listener, HOST:PORT.")]
Metrics = Annotated[str | None, typer.Option(help="Metrics listener, HOST:PORT.")]
CacheSizeBytes = Annotated[
    int | None, typer.Option(help="Bound of each worker's response cache; 0: none.")
]
ModelControlMode = Annotated[
    str | None,
    typer.Option(help="Of the repository: none (all, read once at start), explicit, poll."),
]
LoadModel = Annotated[
    list[str] | None,
    typer.Option(help="Explicit mode: load at start; may be repeated; * is all."),
]
AllowLoadOverrides = Annotated[
    bool | None,
    typer.Option(
        "--allow-load-overrides",
        help="Explicit mode: load requests may bring a configuration and files.",
    ),
]
SystemSharedMemory = Annotated[
    bool | None,
    typer.Option(help="Clients may share memory (BASCULE_SHARED_MEMORY_PREFIXES says which)."),
]
TraceFile = Annotated[
    Path | None, typer.Option(help="Calls are traced here when trace settings ask for it.")
]
PredictionLog = Annotated[
    str | None, typer.Option(help="Predictions are logged here: a folder or an fsspec URL.")
]
