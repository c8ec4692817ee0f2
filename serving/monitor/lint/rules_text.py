"""Pure: a file of Prometheus' rules → rules. Untrusted text."""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from runtimes.errors import InvalidArgumentError
from serving.monitor.lint.promql import duration_s
from serving.monitor.lint.subject import PrometheusRule
from serving.registry.yaml_text import read_yaml


class _Rule(msgspec.Struct, frozen=True):
    expr: str | int | float
    alert: str = ""
    record: str = ""
    holds: Annotated[str | int, msgspec.Meta()] = msgspec.field(default="0s", name="for")
    labels: dict[str, Any] = {}
    annotations: dict[str, Any] = {}


class _Group(msgspec.Struct, frozen=True):
    name: str = ""
    rules: list[_Rule] = []


class _File(msgspec.Struct, frozen=True):
    groups: list[_Group]


def read_rules(raw: bytes, file: str) -> tuple[PrometheusRule, ...]:
    """Read a file of rules.

    Args:
        raw: What it holds.
        file: Its name, for findings.

    Raises:
        InvalidArgumentError: It is none.
    """
    try:
        found = msgspec.convert(read_yaml(raw), _File)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{file}: it is no YAML: {error.message}") from error
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(
            f"{file}: it is no file of Prometheus' rules: {error}"
        ) from error
    return tuple(_rules(found, file))


def _rules(found: _File, file: str) -> Iterator[PrometheusRule]:
    for group in found.groups:
        for one in group.rules:
            yield PrometheusRule(
                file=file,
                name=one.alert or one.record or "a rule without a name",
                expression=str(one.expr),
                is_alert=not one.record,
                holds_s=duration_s(str(one.holds)),
                labels={name: str(value) for name, value in one.labels.items()},
                annotations={name: str(value) for name, value in one.annotations.items()},
            )
