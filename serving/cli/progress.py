"""Lines on stderr about work that takes long: the step that runs now."""

import time
from types import TracebackType
from typing import Final, Self

import typer
from rich.console import Console
from rich.status import Status

PATIENCE_S: Final = 3.0
"""Away from a terminal, steps are told once this much has passed: short work stays silent."""


class Progress:
    """Shows the current step: in place on a terminal, as lines elsewhere. A context manager."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._screen = Console(stderr=True)
        self._status = Status("", console=self._screen)
        self._start_s = time.monotonic()

    def __enter__(self) -> Self:
        if self._screen.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._status.stop()

    def say(self, step: str) -> None:
        """Tell what is done next."""
        self._status.update(step)
        passed_s = time.monotonic() - self._start_s
        if not self._screen.is_terminal and passed_s > PATIENCE_S:
            typer.echo(f"{passed_s:.0f} s: {step}", err=True)
