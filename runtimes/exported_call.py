"""How an exported program is called, and what a call changes besides its results."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, TensorArgument
from torch.utils import _pytree as pytree

from runtimes.exported_signature import user_inputs, user_outputs
from runtimes.torch_effects import Effects
from runtimes.torch_runs import Callee


def callee_of(program: ExportedProgram) -> Callee:
    """Return a function of flat arguments that gives the program's tensors as a flat list."""
    module = program.module()
    # Not module(…): that prints the generated code to stderr whenever a call fails.
    run: Callable[..., object] = torch.nn.Module.__call__.__get__(module)
    defaults = [
        argument.value if isinstance(argument, ConstantArgument) else None
        for argument in user_inputs(program)
    ]
    in_spec: Any = program.call_spec.in_spec
    forward = run if _is_flat(in_spec) else _packed(run, in_spec)
    kept = [
        position
        for position, argument in enumerate(user_outputs(program))
        if isinstance(argument, TensorArgument)
    ]
    if not _is_plain(program.call_spec.out_spec, len(kept)):
        forward = _unpacked(forward, kept)
    return Callee(forward=forward, defaults=defaults)


def effects_of(program: ExportedProgram) -> Effects:
    """Find what a program changes, from its graph."""
    signature = program.graph_signature
    targets = {
        spec.arg.name: spec.target or spec.arg.name
        for spec in signature.input_specs
        if spec.kind is not InputKind.USER_INPUT and isinstance(spec.arg, TensorArgument)
    }
    attributes = set(signature.buffers_to_mutate.values())
    writes_tensors = bool(signature.user_inputs_to_mutate)
    for node in program.graph.nodes:
        for written in _written(node):
            origin = _origin(written)
            if origin.name in targets:
                attributes.add(targets[origin.name])
            else:
                writes_tensors = True
    return Effects(attributes=tuple(sorted(attributes)), writes_tensors=writes_tensors)


def _written(node: torch.fx.Node) -> list[torch.fx.Node]:
    """Return the nodes whose tensors an operator writes into."""
    return [given for alias, given in _aliased(node) if alias.is_write]


def _origin(node: torch.fx.Node) -> torch.fx.Node:
    """Return the node that first gave a tensor's memory: a view is another's."""
    while (viewed := _viewed(node)) is not None:
        node = viewed
    return node


def _viewed(node: torch.fx.Node) -> torch.fx.Node | None:
    """Return the node whose memory an operator's result shares."""
    if node.target is operator.getitem:
        whole = node.args[0]
        return whole if isinstance(whole, torch.fx.Node) else None
    if not isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001  its only name
        return None
    returns = node.target._schema.returns  # noqa: SLF001  torch's operators have no other way
    if not returns or returns[0].alias_info is None:
        return None
    return next((given for _, given in _aliased(node)), None)


def _aliased(node: torch.fx.Node) -> list[tuple[Any, torch.fx.Node]]:
    """Return the arguments that an operator writes into or gives back, and what is known of it."""
    if not isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001  its only name
        return []
    arguments = node.target._schema.arguments  # noqa: SLF001  torch's operators have no other way
    given = [*node.args, *[None] * len(arguments)]
    found = [
        (argument.alias_info, node.kwargs.get(argument.name, given[position]))
        for position, argument in enumerate(arguments)
        if argument.alias_info is not None
    ]
    return [(alias, one) for alias, one in found if isinstance(one, torch.fx.Node)]


def _is_flat(spec: Any) -> bool:  # noqa: ANN401  torch's tree has no public type
    """Whether arguments are simply one after the other."""
    positional, named = spec.children()
    return named.num_leaves == 0 and all(child.is_leaf() for child in positional.children())


def _is_plain(spec: Any, tensor_count: int) -> bool:  # noqa: ANN401  see above
    """Whether what comes back is a tensor, or a tuple or list of nothing else."""
    if spec.num_leaves != tensor_count:
        return False
    is_row = spec.type in {tuple, list} and all(child.is_leaf() for child in spec.children())
    return bool(spec.is_leaf() or is_row)


def _packed(run: Callable[..., object], spec: Any) -> Callable[..., object]:  # noqa: ANN401  see above
    def call(*leaves: object) -> object:
        positional, named = pytree.tree_unflatten(leaves, spec)
        return run(*positional, **named)

    return call


def _unpacked(run: Callable[..., object], kept: list[int]) -> Callable[..., object]:
    def call(*leaves: object) -> object:
        found = pytree.tree_leaves(run(*leaves))
        return [found[position] for position in kept]

    return call
