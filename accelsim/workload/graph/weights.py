"""A network's weights and images: from .npz files or drawn at random, checked against the graph.

Who runs a network with values begins here: ``results/network_run``, ``results/train``, the golden
network and quantization.  Arrays go by the node's name, a dot and their name in it
(``conv1.weight``), in the shapes of ``Graph.all_parameters``.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import numpy as np

from accelsim.base.errors import InputError, got
from accelsim.workload.arithmetic import Array
from accelsim.workload.graph.graph import Graph
from accelsim.workload.operators.operator import Shape, text

MAX_WORDS = 2**31
SCALE, ZERO = ":scale", ":zero"  # behind a name: what words of a quantized model stand for


def random_weights(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Weights drawn so that activations keep their size from layer to layer (He et al. 2015),
    float64; the same for a seed.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, Array] = {}
    for name, shape in graph.all_parameters.items():
        kind = name.rsplit(".", 1)[1]
        if kind == "weight":
            drawn[name] = rng.standard_normal(shape) * np.sqrt(2 / max(prod(shape[1:]), 1))
        elif kind in ("scale", "variance"):
            drawn[name] = rng.uniform(0.5, 1.5, shape)
        else:
            drawn[name] = rng.standard_normal(shape) * 0.1
    return drawn


def random_images(graph: Graph, batch: int = 1, seed: int = 0) -> dict[str, Array]:
    """Inputs drawn from the standard normal distribution, float64, by the name of the graph's
    input.
    """
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((batch, *shape)) for name, shape in graph.inputs.items()}


# What a caller may give for weights: an .npz file, or arrays by name; for images also the one array
# of a network with one input.
ArraysLike = str | os.PathLike[str] | Mapping[str, Array]
ImagesLike = ArraysLike | Array
TARGETS = ("labels", "targets")  # what a file of images has beside them, for training: one of these


def load_arrays(
    arrays: ArraysLike, check: Callable[[dict[str, Array]], object] | None = None
) -> dict[str, Array]:
    """The arrays of an .npz file by name.  Raises InputError if it is no such file, too large, or
    holds objects.

    ``check`` refuses what is not wanted, by names, types and shapes: it is called before anything
    is unpacked, with arrays that have them and no memory.
    """
    if isinstance(arrays, Mapping):
        return {str(name): np.asarray(array) for name, array in arrays.items()}
    if not isinstance(arrays, (str, os.PathLike)):
        raise InputError("must be an .npz file, or arrays by name", got=got(arrays))
    file = Path(arrays)
    try:
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > 8 * MAX_WORDS:
                raise InputError(
                    f"arrays must have at most {8 * MAX_WORDS} bytes together", file=file
                )
            told = {e.filename.removesuffix(".npy"): _told(archive, e) for e in archive.infolist()}
        if check is not None:
            check(told)
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise InputError("no such file", file=file) from None
    except InputError:
        raise
    except (
        OSError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise InputError(
            "must be an .npz file of numbers", file=file, got=str(error)[:60]
        ) from None


def _told(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Array:
    """What the header of an array says of its type and shape, as an array without memory.  Raises
    ValueError.
    """
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in HEADERS:
            raise ValueError(f"version {version} of an array")
        shape, _, dtype = HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("an array of objects")
    return np.broadcast_to(np.zeros((), dtype), shape)


HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def is_scale(name: str) -> bool:
    """Whether an array beside weights is a scale or a zero point (``workload/stated_network``)."""
    return name.endswith((SCALE, ZERO))


def without_scales(weights: Mapping[str, Array]) -> dict[str, Array]:
    """The weights alone."""
    return {name: array for name, array in weights.items() if not is_scale(name)}


def check_weights(graph: Graph, weights: Mapping[str, Array]) -> None:
    """Raises InputError unless every parameter of the graph is there in its shape, finite, and
    nothing else is but scales of what the graph has.
    """
    wanted = graph.all_parameters
    for name in weights:
        of = name.rpartition(":")[0] if is_scale(name) else name
        if name not in wanted and (of == name or not (of in wanted or of in graph.shapes)):
            raise InputError(
                f"{graph.name} has no such parameter", key="weights", got=name, choices=wanted
            )
    for name, shape in wanted.items():
        if name not in weights:
            raise InputError("must be given", key=f"weights.{name}")
        _check(f"weights.{name}", weights[name], shape)
        if name.endswith(".variance") and np.size(weights[name]) and np.min(weights[name]) < 0:
            raise InputError(
                "must be at least 0",
                key=f"weights.{name}",
                got=f"{float(np.min(weights[name])):.4g}",
            )


def check_images(graph: Graph, images: Array | Mapping[str, Array]) -> dict[str, Array]:
    """Images as arrays by input name, the batch first and the same for all.  Raises InputError."""
    given = dict(images) if isinstance(images, Mapping) else {next(iter(graph.inputs)): images}
    for name, shape in graph.inputs.items():
        if name in given and np.ndim(given[name]) != len(shape) + 1:
            shown = text(np.shape(given[name])) or "one number"
            raise InputError(
                f"must have the batch first, then {text(shape)}", key=f"images.{name}", got=shown
            )
    for name in given:
        if name not in graph.inputs:
            raise InputError(
                f"{graph.name} has no such input", key="images", got=name, choices=graph.inputs
            )
    for name, shape in graph.inputs.items():
        if name not in given:
            raise InputError("must be given", key=f"images.{name}")
        _check(
            f"images.{name}",
            given[name][0] if len(given[name]) else given[name],
            shape,
            "one of the batch ",
        )
    batches = {len(array) for array in given.values()}
    if len(batches) != 1:
        raise InputError(
            "must have the same batch for every input",
            key="images",
            got=", ".join(map(str, sorted(batches))),
        )
    return {name: np.asarray(given[name]) for name in graph.inputs}


def _check(key: str, array: Array, shape: Shape, what: str = "") -> None:
    array = np.asarray(array)
    if not np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.complexfloating):
        raise InputError("must be numbers", key=key, got=str(array.dtype))
    if array.shape != shape:
        raise InputError(
            f"{what}must have shape {text(shape)}", key=key, got=text(array.shape) or "one number"
        )
    if not np.isfinite(array).all():
        raise InputError("must be finite numbers", key=key)
