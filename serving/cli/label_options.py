"""What commands about labels have in common: which model, whose labels, how many predictions."""

from typing import Annotated

import typer

from serving.cli.log_access import log_filter
from serving.cli.targets import named_target
from serving.predictions.labels.joining import Wanted
from serving.settings import load_settings

Target = Annotated[str, typer.Argument(metavar="MODEL[:VERSION]", help="Or MODEL@ALIAS.")]
Source = Annotated[str | None, typer.Option(help="Only labels of this source; default: of all.")]
Most = Annotated[int, typer.Option("--limit", min=1, help="The newest so many predictions.")]


def wanted_labels(target: str, source: str | None, since: str, until: str, most: int) -> Wanted:
    """Say what is to be read, as flags say it."""
    model, version = named_target(target)
    text = model if version is None else f"{model}:{version}"
    return Wanted(
        predictions=log_filter(text, since, until),
        source=source,
        most=most,
        grace_s=load_settings().label_grace_s,
    )
