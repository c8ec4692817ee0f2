"""The flags of `bascule tune`."""

from pathlib import Path
from typing import Annotated, Final

import typer

HOUR_S: Final = 3600.0
"""Longer calls or stages are a slip of the keyboard, or infinite."""

Target = Annotated[
    str,
    typer.Argument(
        metavar="MODEL[:V]|MODEL@ALIAS|BUNDLE|DIR",
        help="A version of the registry (default: the live one), a bundle, or a model's folder in "
        "Triton's layout.",
    ),
]
Slo = Annotated[
    float,
    typer.Option(
        min=0.01, max=HOUR_S * 1e3, help="What 99 of 100 calls may take, from when they are due."
    ),
]
Budget = Annotated[
    float,
    typer.Option(
        min=1,
        help="Seconds for the search, about; comparing the best with the present at the end takes "
        "as long as six trials more.",
    ),
]
StageLength = Annotated[
    float,
    typer.Option(min=0.1, max=HOUR_S, help="Seconds at each rate; longer ones vary less."),
]
Cpus = Annotated[
    int, typer.Option(min=0, help="CPUs that the engines may occupy; 0: all of this node.")
]
Given = Annotated[
    list[Path] | None,
    typer.Option(
        "--input",
        metavar="FILE",
        help="What is asked, .npz or .json; may be repeated. Default: the golden samples, or "
        "made-up inputs.",
    ),
]
Rows = Annotated[int | None, typer.Option(min=1, help="Ask made-up inputs of so many rows.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "--list", help="Only say what would be tried.")]
Write = Annotated[
    bool | None,
    typer.Option(
        "--write/--no-write",
        help="Make a new version if something is better; default: ask at a terminal.",
    ),
]
Report = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write table, plot and JSON here, too.")
]
Sign = Annotated[
    Path | None, typer.Option(metavar="KEY", help="Sign the new version with this private key.")
]
