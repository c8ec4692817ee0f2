"""Pure: what is wrong with rules of Prometheus."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from runtimes.errors import InvalidArgumentError
from runtimes.findings import Finding, Severity
from runtimes.misspelling import did_you_mean
from serving.monitor.lint.catalogue import found
from serving.monitor.lint.firing import firing_of
from serving.monitor.lint.promql import Selector, Token, selectors_of, tokens_of
from serving.monitor.lint.subject import LintSubject, PrometheusRule
from serving.monitor.metric_spec import Kind, MetricSpec, When

OURS: Final = ("bascule_", "bascule:", "nv_")
EVERYWHERE: Final = frozenset({"job", "instance", "le", "__name__"})
SERIOUS: Final = frozenset({"page", "critical"})
SWITCH: Final = "none"
"""The severity of an alert that shall always fire."""
LEAST_SCRAPES: Final = 4
COUNTING: Final = frozenset({"increase", "rate", "irate"})


class RuleChecks:
    """Judges rules by a catalogue of metrics."""

    def __init__(self, metrics: Iterable[MetricSpec], subject: LintSubject) -> None:
        """Take what is known.

        Args:
            metrics: All that may be exported.
            subject: The rules, and what a server exports.
        """
        self._subject = subject
        self._series = {name: one for one in metrics for name in one.series}
        self._recorded = frozenset(one.name for one in subject.rules if not one.is_alert)

    def findings(self) -> Iterator[Finding]:
        """Judge every rule, and all of them together."""
        for rule in self._subject.rules:
            try:
                tokens = tokens_of(rule.expression)
            except InvalidArgumentError as error:
                yield found("ML11", rule.subject, error.message, "write it as PromQL has it")
                continue
            selectors = [*selectors_of(tokens)]
            for one in selectors:
                yield from self._of_selector(rule, one)
            if rule.is_alert:
                yield from _of_alert(rule, tokens, selectors)
        yield from _doubles(self._subject.rules)

    def _of_selector(self, rule: PrometheusRule, one: Selector) -> Iterator[Finding]:
        yield from self._of_name(rule, one)
        least_s = LEAST_SCRAPES * self._subject.scrape_interval_s
        if 0 < one.window_s < least_s and one.name not in self._recorded:
            yield found(
                "ML13",
                rule.subject,
                f"{one.name} over {one.window_s:g} s: at one scrape in "
                f"{self._subject.scrape_interval_s:g} s it is often empty",
                f"take {least_s:g} s at least",
            )

    def _of_name(self, rule: PrometheusRule, one: Selector) -> Iterator[Finding]:
        name, spec = one.name, self._series.get(one.name)
        if not name.startswith(OURS) or name in self._recorded:
            return
        if spec is None:
            there = [*self._series, *self._recorded]
            hint = did_you_mean(name, there) or "bascule metrics list names all"
            yield found("ML11", rule.subject, f"no metric is called {name}", hint)
            return
        yield from _of_labels(rule, one, spec)
        yield from _of_bucket(rule, one, spec)
        exported = self._subject.exported
        is_missing = exported is not None and name not in exported.names
        if is_missing and spec.when is When.ALWAYS:
            yield found(
                "ML11",
                rule.subject,
                f"the running server does not export {name}",
                "look at the log of the edge: a part of the instance does not answer",
            )


def _of_labels(rule: PrometheusRule, one: Selector, spec: MetricSpec) -> Iterator[Finding]:
    known = {*spec.labels, *EVERYWHERE}
    for matcher in one.matchers:
        if matcher.label not in known:
            yield found(
                "ML11",
                rule.subject,
                f"{one.name} has no label '{matcher.label}'; it has "
                f"{', '.join(spec.labels) or 'none'}",
                "leave it out, unless your scrape configuration adds it",
                severity=Severity.WARNING,
            )


def _of_bucket(rule: PrometheusRule, one: Selector, spec: MetricSpec) -> Iterator[Finding]:
    if spec.kind != Kind.HISTOGRAM:
        return
    for matcher in one.matchers:
        edge = _number(matcher.value) if (matcher.label, matcher.sign) == ("le", "=") else None
        if edge is not None and edge not in spec.edges:
            near = min((abs(known - edge), known) for known in spec.edges)[1]
            yield found(
                "ML14",
                rule.subject,
                f"{one.name} has no bucket that ends at {matcher.value}",
                f"take the limit at {near:g}, which is the nearest",
            )


def _of_alert(
    rule: PrometheusRule, tokens: list[Token], selectors: list[Selector]
) -> Iterator[Finding]:
    severity = rule.labels.get("severity", "")
    has_words = any(rule.annotations.get(name) for name in ("description", "runbook_url"))
    if severity in SERIOUS and not has_words:
        yield found(
            "ML06",
            rule.subject,
            f"it wakes somebody (severity {severity}) and does not say what to do",
            "give it an annotation description or runbook_url",
        )
    firing = firing_of(tokens)
    if firing.never:
        yield found(
            "ML19",
            rule.subject,
            "its expression is never true: a limit is outside of what its metric can be",
            "put the limit inside: shares are 0 to 1, counts are 0 or more",
        )
    if firing.always and severity != SWITCH:
        yield found(
            "ML20",
            rule.subject,
            "its expression is always true, whatever is measured",
            "put the limit inside of what its metric can be; a dead man's switch has severity none",
        )
    windows = [one.window_s for one in selectors if one.window_s]
    is_counted = any(token.text in COUNTING for token in tokens)
    if is_counted and windows and len(windows) == len(selectors) and rule.holds_s > max(windows):
        yield found(
            "ML12",
            rule.subject,
            f"it has to hold for {rule.holds_s:g} s, and what happened once is counted for "
            f"{max(windows):g} s: only what goes on rings, one event never does",
            "let it hold for less, or count over longer, if one event shall ring",
        )


def _doubles(rules: Iterable[PrometheusRule]) -> Iterator[Finding]:
    alike: defaultdict[str, list[PrometheusRule]] = defaultdict(list)
    for rule in rules:
        if rule.is_alert:
            alike[" ".join(rule.expression.split())].append(rule)
    for some in alike.values():
        names = sorted({one.subject for one in some})
        if len(some) > 1:
            yield found(
                "ML09",
                some[-1].subject,
                f"it asks the same as {names[0] if len(names) > 1 else 'a rule of its name'}",
                "leave one of them out: two alarms for one thing wake people twice",
            )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
