"""A page as one HTML file that asks nothing of any network; its template escapes every text."""

from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape
from markupsafe import Markup

from serving.rollout.report.page import Page, Plot, printable
from serving.rollout.report.plots import svg

TEMPLATE: Final = "page.html.j2"


def html(page: Page) -> str:
    """Write it."""
    return _template().render(page=page) + "\n"


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("serving.rollout.report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True, enabled_extensions=()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals["drawn"] = _drawn
    return environment.get_template(TEMPLATE)


def _shown(value: object) -> object:
    """Take out of a text what could steer its reader; marks of our own stay as they are."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return printable(str(value)) if is_text else value


def _drawn(plot: Plot) -> Markup:
    return Markup(svg(plot))  # noqa: S704  its texts were escaped when it was made
