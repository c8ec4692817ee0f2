"""What a broken case of preflight is."""

from dataclasses import dataclass

from runtimes.preflight.subject import Subject
from tests.fakes.subjects import ON_CPU


@dataclass(frozen=True)
class Case:
    """A subject that is broken in one way, and the neighbour that is not."""

    code: str
    broken: Subject
    remedy: str
    """A part of the finding's text that says what to do."""
    neighbour: Subject = ON_CPU
