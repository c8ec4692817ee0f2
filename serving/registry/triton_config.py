"""Triton's model configuration: protobuf text (config.pbtxt) ↔ records, and the completed form.

`parse_config` reads what an operator wrote, and refuses what Bascule would serve differently from
what was asked. `config_message` and `config_json` give the configuration as clients see it:
completed with what the worker found out about the model (Triton's model configuration extension).
"""

from dataclasses import dataclass
from typing import Any

from serving.registry.version import ServedVersion, ServingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfiguration:
    """What a model's configuration says."""

    policy: ServingPolicy
    text: str
    """The configuration as protobuf text, canonical: `parse_config` of it gives the same."""
    format: str | None = None
    """A name of `runtimes.catalogue`; None: unsaid, to be told from the model file."""
    model_file: str = ""
    """File name inside the version's folder; empty: the format's default."""


def parse_config(
    text: str, *, model: str, source: str = "config.pbtxt", gpu: bool = False
) -> ModelConfiguration:
    """Read a config.pbtxt; `gpu`: the node's engines can use a GPU (what KIND_AUTO means)."""
    raise NotImplementedError


def config_message(config_text: str, model: str, served: ServedVersion) -> Any:
    """Return the completed configuration as a protobuf `inference.ModelConfig`."""
    raise NotImplementedError


def config_json(config_text: str, model: str, served: ServedVersion) -> dict[str, object]:
    """Return the completed configuration in the protocol's JSON form, ready to be encoded."""
    raise NotImplementedError
