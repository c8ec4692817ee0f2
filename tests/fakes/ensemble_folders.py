"""Ensembles as folders of a model repository, with steps over models of two inputs and outputs."""

from pathlib import Path

PAIR = "max_batch_size: 8\n"


def tensor(name: str, datatype: str = "INT32", dims: int = 16) -> str:
    """A tensor of a configuration."""
    return f'{{ name: "{name}" data_type: TYPE_{datatype} dims: [ {dims} ] }}'


def step(model: str, inputs: dict[str, str], outputs: dict[str, str]) -> str:
    """A step of a configuration."""
    maps = "".join(
        f'{role} {{ key: "{own}" value: "{shared}" }} '
        for role, links in (("input_map", inputs), ("output_map", outputs))
        for own, shared in links.items()
    )
    return f'{{ model_name: "{model}" model_version: -1 {maps} }}'


SUM_AND_DIFFERENCE = step("a", {"INPUT0": "x", "INPUT1": "y"}, {"OUTPUT0": "s", "OUTPUT1": "d"})
AGAIN = step("b", {"INPUT0": "s", "INPUT1": "d"}, {"OUTPUT0": "p", "OUTPUT1": "q"})


def ensemble(repository: Path, name: str, config: str) -> None:
    """Put an ensemble into a repository."""
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(f'platform: "ensemble"\n{config}')


def pair(*steps: str, rows: int = 8) -> str:
    """A configuration of two inputs and two outputs."""
    return (
        f"max_batch_size: {rows} input [ {tensor('x')}, {tensor('y')} ] "
        f"output [ {tensor('p')}, {tensor('q')} ] ensemble_scheduling {{ step [ "
        f"{', '.join(steps)} ] }}"
    )
