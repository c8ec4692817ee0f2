"""The passphrase of a private key, which is never typed on a command line."""

from pathlib import Path
from typing import Annotated

import typer

from runtimes.errors import InvalidArgumentError
from serving.registry.bundles.keys import read_key_file

Passphrase = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A file whose first line is the key's passphrase."),
]


def read_passphrase(file: Path | None) -> bytes:
    """Return the first line of a file; empty without one.

    Raises:
        NotFoundError: The file cannot be read.
        InvalidArgumentError: Its first line is empty.
    """
    if file is None:
        return b""
    line = read_key_file(file).partition(b"\n")[0].rstrip(b"\r")
    if not line:
        raise InvalidArgumentError(f"the first line of {file} is empty: write the passphrase there")
    return line
