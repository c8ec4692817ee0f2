"""YAML that anybody may have written: whatever is wrong with it is one kind of error."""

from collections.abc import Callable
from typing import Final

import yaml

from runtimes.errors import InvalidArgumentError

MAX_VALUES: Final = 1_000_000
"""What a text may stand for, each alias counted as what it repeats."""
MAX_TOLD: Final = 200

FAULTS: Final = (
    yaml.YAMLError,
    RecursionError,
    ValueError,
    OverflowError,
    # A tag that does not suit its value, as `!!bool x`, comes out of PyYAML as one of these.
    LookupError,
    AttributeError,
)


def read_yaml(raw: bytes, check: Callable[[yaml.Node], None] | None = None) -> object:
    """Return what a text says; None: nothing.

    Args:
        raw: The text.
        check: Looks at it before values are made; raises `ValueError` where it does not like it.

    Raises:
        InvalidArgumentError: It cannot be read; the message does not name the file.
    """
    try:
        loader = yaml.SafeLoader(raw)
        node = loader.get_single_node()
        if node is None:
            return None
        _expanded_count(node, {})
        if check is not None:
            check(node)
        return loader.construct_document(node)
    except FAULTS as error:
        told = " ".join(str(error).split())[:MAX_TOLD]
        is_bare = isinstance(error, LookupError | AttributeError)
        raise InvalidArgumentError("a tag does not suit its value" if is_bare else told) from error


def _expanded_count(node: yaml.Node, counts: dict[yaml.Node, int]) -> int:
    """Return how many values a node stands for: aliases of aliases grow without measure."""
    if node in counts:
        if not counts[node]:
            raise ValueError("an alias stands for something that it is a part of")
        return counts[node]
    counts[node] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        _require_each_once(node)
        children = [each for pair in node.value for each in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    count = 1 + sum(_expanded_count(child, counts) for child in children)
    if count > MAX_VALUES:
        raise ValueError(f"its aliases stand for more than {MAX_VALUES} values")
    counts[node] = count
    return count


def _require_each_once(node: yaml.MappingNode) -> None:
    """Refuse a key that comes twice: YAML's reader would silently take the last one."""
    known = set[tuple[str, str]]()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if (key.tag, key.value) in known:
            line = key.start_mark.line + 1
            raise ValueError(f"{key.value[:80]!r} comes twice, again in line {line}: keep one")
        known.add((key.tag, key.value))
