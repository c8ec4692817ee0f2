"""Pure: the model card that a bundle gets where its author brings none: what is known, and gaps.

The same model packed twice gives the same card, so no time and no measured figure stands in it.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from serving.registry.bundles.manifest import Lineage, Manifest, Tensor

UNKNOWN: Final = "*not stated*"
GAPS: Final = (
    ("Intended use", "What it is for, and what it must not be used for."),
    ("Limits", "Where it is known to be wrong; groups and inputs that it was not evaluated on."),
    ("Contact", "Who answers questions."),
)


def card_text(manifest: Manifest) -> str:
    """Return a model card in Markdown."""
    return "\n".join(_lines(manifest)) + "\n"


def _lines(manifest: Manifest) -> Iterator[str]:
    yield f"# {manifest.name}"
    yield ""
    yield f"Format: {manifest.format}. Licence: {manifest.licence or UNKNOWN}."
    if manifest.notes:
        yield ""
        yield manifest.notes
    yield from _table("Inputs", manifest.inputs)
    yield from _table("Outputs", manifest.outputs)
    yield ""
    yield _batch_text(manifest.max_batch_rows)
    yield from _training(manifest.lineage)
    for title, question in GAPS:
        yield from ("", f"## {title}", "", f"{UNKNOWN}: {question}")


def _table(title: str, tensors: Sequence[Tensor]) -> Iterator[str]:
    yield from ("", f"## {title}", "", "| name | datatype | shape |", "|---|---|---|")
    for tensor in tensors:
        name = tensor.name.replace("|", "\\|").replace("\n", " ")
        yield f"| {name} | {tensor.datatype} | {list(tensor.shape)} |"


def _batch_text(rows: int | None) -> str:
    if rows is None:
        return "Whether calls may be joined is not known."
    return f"Up to {rows} rows are run together." if rows else "Calls are run one at a time."


def _training(lineage: Lineage) -> Iterator[str]:
    until = lineage.trained_until
    yield from ("", "## Training", "")
    yield f"- Data: {lineage.training_data or UNKNOWN}"
    yield f"- Newest observation: {until.isoformat() if until else UNKNOWN}"
    yield f"- Code: {lineage.code_revision or UNKNOWN}"
    yield f"- Made from: {lineage.parent or UNKNOWN}"
    yield from ("", "## Metrics", "")
    yield from (f"- {name}: {value}" for name, value in sorted(lineage.metrics.items()))
    if not lineage.metrics:
        yield UNKNOWN
