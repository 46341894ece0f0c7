"""PyTorch modules into workloads, through PyTorch's own exporter to ONNX.

``acc.from_torch`` is called from Python alone: a module is no file.  What the exporter writes goes
to ``onnx_import`` without touching the disk, so that everything said of ONNX files holds here.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from accelsim.base.errors import InputError, got, one_line
from accelsim.importers.network_builder import Imported, clean
from accelsim.importers.onnx_import import import_onnx_bytes

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

OPSET = 17  # of what is exported


def from_torch(
    module: Module,
    example_input: Tensor | Sequence[Tensor],
    name: str = "",
    dims: Mapping[str, int] | None = None,
) -> Imported:
    """A module as a workload with its weights, as it runs after training.

    ``example_input`` is a tensor, or several in the order of ``forward``'s arguments, the batch
    first: their shapes are the network's, their batch is the workload's.  The workload goes by
    ``name``, the module's class unless given; ``dims`` as ``import_onnx`` has them.  Control flow
    in Python is what the example takes.

    Raises InputError without PyTorch, and for what its exporter cannot do; UnsupportedError naming
    every operation there is no operator for.
    """
    try:
        import torch
    except ImportError:
        raise InputError("from_torch needs PyTorch: pip install torch onnx", key="module") from None
    if not isinstance(module, torch.nn.Module):
        raise InputError("must be a torch.nn.Module", key="module", got=got(module))
    inputs = (example_input,) if isinstance(example_input, torch.Tensor) else example_input
    if not isinstance(inputs, (tuple, list)) or not inputs:
        raise InputError("must be a tensor, or several", key="example_input", got=got(inputs))
    for each in inputs:
        if not isinstance(each, torch.Tensor):
            raise InputError("must be tensors", key="example_input", got=got(each))
    label = clean(name or type(module).__name__) or "module"
    with _after_training(module):
        raw = _exported(torch, module, tuple(inputs), label)
    return import_onnx_bytes(raw, label, dims=dims, told="from a PyTorch module")


def _exported(torch: Any, module: Module, inputs: tuple[Tensor, ...], label: str) -> bytes:
    """The module as an ONNX model.  Normalizations stay beside their convolutions, and weights keep
    their names.
    """
    stream = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter's own, about itself
            torch.onnx.export(
                _as_a_part(torch, module),
                inputs,
                stream,
                dynamo=False,
                opset_version=OPSET,
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
            )
    except Exception as error:  # whatever the module's forward and the exporter raise
        why = one_line(" ".join(str(error).split()) or type(error).__name__, 200)
        raise InputError(f"{label} cannot be exported by PyTorch: {why}", key="module") from None
    return stream.getvalue()


def _as_a_part(torch: Any, module: Module) -> Any:
    """A module around the module that is in training, while the module itself is not: the exporter
    would make one array of all that have equal words, as fresh normalizations have, and leaves
    that to itself only then.  Arrays that are one in PyTorch are one in the model, too.
    """

    class Whole(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: Any) -> Any:
            return self.module(*inputs)

    whole = Whole()
    whole.training = True
    return whole


@contextmanager
def _after_training(module: Module) -> Iterator[None]:
    """Within, the module and its parts are as after training; behind it as they were."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training
