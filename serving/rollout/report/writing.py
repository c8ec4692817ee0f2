"""A rollout's page as text, in the format that was asked for."""

import msgspec

from serving.edge.control import PageForm
from serving.registry.store import Registry
from serving.rollout.report.building import page_of
from serving.rollout.report.history import gathered
from serving.rollout.report.html import html
from serving.rollout.report.markdown import markdown


def written(
    registry: Registry, number: int, form: PageForm, *, now: str = "", seen: str = ""
) -> str:
    """Write the report of a rollout. Blocking.

    Args:
        registry: Where the rollout is.
        number: The rollout's.
        form: In which format.
        now: What its engine would keep now, as JSON; empty: nothing, or nobody was asked.
        seen: What its engine says of it.

    Raises:
        NotFoundError: There is no such rollout.
        NotReadyError: The catalog does not answer.
    """
    page = page_of(gathered(registry, number, now=now, seen=seen))
    match form:
        case PageForm.HTML:
            return html(page)
        case PageForm.MARKDOWN:
            return markdown(page)
        case PageForm.JSON:
            return msgspec.json.encode(page).decode()
