"""Pure: is written down what people need to know of a version?"""

from collections.abc import Iterator

from runtimes.findings import Finding
from runtimes.preflight.catalogue import found
from runtimes.preflight.subject import Subject


def check_described(subject: Subject) -> Iterator[Finding]:
    """Yield what is missing beside the model itself; a raw file has nowhere to say it."""
    metadata = subject.metadata
    if metadata is None:
        return
    if not metadata.has_golden:
        yield found(
            "BP-M01",
            "golden samples",
            "there are none, so nobody can tell whether its answers change",
            "pack it again with golden samples",
        )
    if not metadata.has_card:
        yield found(
            "BP-M01",
            "model card",
            "there is none: what is it for, who answers for it?",
            "add a card.md when you pack it",
        )
