"""The flag of every command. Alone: a command that is in a hurry imports no registry for it."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
