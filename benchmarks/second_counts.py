"""MACs of other tools' files, counted without the importers: the rows of a table, the sizes of a
problem, ONNX's own inference of shapes, and a walk over a prototxt read by a dozen lines.

``public_files.py`` compares them with what was imported.  They know what real files have, and no
more; a file they cannot read is an error.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from math import ceil, prod
from pathlib import Path
from typing import Any

from accelsim.workload.network import Workload


def table_macs(path: Path, workload: Workload) -> int:
    """MACs of a table's rows of seven numbers or of three, as the tool reads them."""
    total = 0
    for row in csv.reader(re.split("[\r\n]+", path.read_text("utf-8-sig").replace("\t", ","))):
        numbers = [int(float(c)) for c in row[1:9] if re.fullmatch(r"\d+(\.0*)?", c.strip())]
        if len(numbers) in (3, 4) and len([c for c in row if c.strip()]) <= 5:
            total += prod(numbers)
        elif len(numbers) >= 7:
            h, w, r, s, c, m, u = numbers[:7]
            total += ceil((h - r + u) / u) * ceil((w - s + u) / u) * r * s * c * m
    return total


def problem_macs(path: Path, workload: Workload) -> int:
    """MACs of a problem: the product of the sizes that its instance states, those of steps and
    dilations apart; what an included base states is 1.
    """
    text = path.read_text()
    at = re.search(r"instance:\s*\{([^}]*)\}", text)
    start = text.find("instance:") if "instance:" in text else text.find("problem:")
    block = at[1].replace(",", "\n") if at else text[start:]
    sizes: dict[str, int] = {}
    for key, number in re.findall(r"^\s*([A-Za-z]+)\s*:\s*(\d+)\s*(?:#.*)?$", block, re.MULTILINE):
        sizes.setdefault(key, int(number))
    return prod(n for key, n in sizes.items() if len(key) == 1 and key not in "HW")


def onnx_macs(path: Path, workload: Workload) -> int:
    """MACs of a model's convolutions and products, by the shapes that ONNX infers; a free batch is
    1.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True)
    graph = model.graph
    shapes = {
        v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim]
        for v in (*graph.value_info, *graph.output, *graph.input)
    } | {t.name: list(t.dims) for t in graph.initializer}
    known = {t.name for t in graph.initializer}
    total = 0
    for node in graph.node:
        if all(name in known for name in node.input if name):
            known |= set(node.output)
        elif node.op_type == "Conv":
            total += prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":
            total += prod(shapes[node.input[0]]) * prod(shapes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            turned = any(a.name == "transA" and a.i for a in node.attribute)
            inner = shapes[node.input[0]][-2 if turned else -1]
            total += prod(shapes[node.output[0]]) * inner
    return total


# Caffe --------------------------------------------------------------------------------------------

Fields = dict[str, list[Any]]


def fields(tokens: Iterator[str]) -> Fields:
    """A message's values by key, until its end."""
    read: Fields = {}
    for key in tokens:
        if key in ("}", ">"):
            break
        value = next(tokens)
        value = next(tokens) if value == ":" else value
        read.setdefault(key, []).append(
            fields(tokens) if value in ("{", "<") else value.strip("\"'")
        )
    return read


def prototxt(text: str) -> Fields:
    """A whole file."""
    text = re.sub(r"#[^\n]*", "", text)
    return fields(iter(re.findall(r"\"[^\"]*\"|'[^']*'|[{}<>:]|[^\s{}<>:;,]+", text)))


def caffe_macs(path: Path, workload: Workload) -> int:
    """MACs of a network of phase TEST, a walk from layer to layer with shapes (C, H, W).  What its
    data are is taken from the workload.
    """
    net = prototxt(path.read_text())
    assert workload.network is not None
    inputs = iter(workload.network.inputs.values())
    walk = _CaffeWalk(list(inputs))
    for blob in net.get("input", []):
        walk.stated(blob, net)
    layers = [*net.get("layer", []), *net.get("layers", [])]
    for layer in layers:
        walk.layer({**layer, **layer["layer"][0]} if "layer" in layer else layer)
    return walk.macs


class _CaffeWalk:
    def __init__(self, inputs: list[tuple[int, ...]]) -> None:
        self.inputs, self.macs = inputs, 0
        self.shapes: dict[str, tuple[int, ...]] = {}

    def stated(self, blob: str, net: Fields) -> None:
        """An input of the file's head."""
        at = net["input"].index(blob)
        dims = (
            net["input_shape"][at]["dim"]
            if "input_shape" in net
            else net["input_dim"][4 * at : 4 * at + 4]
        )
        self.shapes[blob] = tuple(int(n) for n in dims[1:])

    def layer(self, layer: Fields) -> None:
        kind = layer["type"][0].replace("_", "").lower()
        bottoms, tops = layer.get("bottom", []), layer.get("top", [])
        phases = [p for rule in layer.get("include", []) for p in rule.get("phase", [])]
        if phases and phases[-1] not in ("TEST", "1"):
            if not bottoms and tops and tops[0] not in self.shapes:
                self.shapes[tops[0]] = self.inputs[0]
            return
        if not bottoms:
            self.shapes |= dict.fromkeys(tops[:1], self.inputs[0]) if tops else {}
            return
        if any(b not in self.shapes for b in bottoms[:1]):
            return  # behind what works on the answer
        given = next((v[0] for k, v in layer.items() if k.endswith("_param") and _own(k)), {})
        given = given if isinstance(given, dict) else {}
        shape = self.shapes[bottoms[0]]
        self._made(kind, given if given else layer, shape, bottoms, tops)

    def _made(
        self,
        kind: str,
        given: Fields,
        shape: tuple[int, ...],
        bottoms: list[str],
        tops: list[str],
    ) -> None:
        """The shapes of a layer's tops, and its MACs."""
        if kind in ("priorbox", "detectionoutput", "python", "proposal", "argmax"):
            return
        if kind == "slice":
            points = [0, *map(int, given.get("slice_point", [])), shape[0]]
            if len(points) != len(tops) + 1:
                points = [shape[0] * i // len(tops) for i in range(len(tops) + 1)]
            for top, start, stop in zip(tops, points[:-1], points[1:], strict=True):
                self.shapes[top] = (stop - start, *shape[1:])
            return
        if "convolution" in kind or kind == "conv":
            made = self._convolved(kind, given, shape)
        elif kind == "innerproduct":
            made = (_number(given, "num_output"),)
            self.macs += prod(shape) * made[0]
        elif kind in ("pooling", "pool"):
            made = (shape[0], *_pooled(given, shape[1:]))
        else:
            made = self._moved(
                kind, given, shape, [self.shapes[b] for b in bottoms[1:] if b in self.shapes]
            )
        self.shapes |= dict.fromkeys(tops, made)

    def _convolved(self, kind: str, given: Fields, shape: tuple[int, ...]) -> tuple[int, ...]:
        m, groups = _number(given, "num_output"), _number(given, "group", default=1)
        groups = shape[0] if "depthwise" in kind else groups
        holes, sides = _number(given, "dilation", default=1), []
        windows = _windows(given)
        for n, (k, u, p) in zip(shape[1:], windows, strict=True):
            reach = holes * (k - 1) + 1
            back = kind == "deconvolution"
            sides.append(u * (n - 1) + reach - 2 * p if back else (n + 2 * p - reach) // u + 1)
        pairs = prod(shape) * m if kind == "deconvolution" else m * prod(sides) * shape[0]
        self.macs += pairs * prod(k for k, _, _ in windows) // groups
        return (m, *sides)

    def _moved(
        self, kind: str, given: Fields, shape: tuple[int, ...], others: list[tuple[int, ...]]
    ) -> tuple[int, ...]:
        """What is made of ``shape`` by a layer that multiplies nothing on the array."""
        if "roi" in kind:
            side = _number(given, "group_size")
            sides = [_number(given, key, default=side) for key in ("pooled_h", "pooled_w")]
            return (_number(given, "output_dim", default=shape[0]), *sides)
        if kind == "interp":
            stated = _number(given, "height"), _number(given, "width")
            return (shape[0], *(others[0][1:] if others else stated))
        if kind == "concat":
            at = _number(given, "axis", "concat_dim", default=1) - 1
            whole = sum(one[at] for one in (shape, *others))
            return (*shape[:at], whole, *shape[at + 1 :])
        if kind == "permute":
            return tuple(shape[int(n) - 1] for n in given["order"][1:])
        if kind == "flatten":
            first = _number(given, "axis", default=1) - 1
            return (*shape[:first], prod(shape[first:]))
        if kind == "reshape":
            dims = [int(n) for n in given["shape"][0]["dim"]][1:]
            dims = [shape[i] if n == 0 else n for i, n in enumerate(dims)]
            left = prod(shape) // prod(n for n in dims if n > 0)
            return tuple(left if n < 0 else n for n in dims)
        if kind == "crop":
            first = _number(given, "axis", default=2) - 1
            return (*shape[:first], *others[0][first:])
        return others[0] if kind == "axpy" else shape


def _number(given: Fields, *keys: str, default: int = 0) -> int:
    return next((int(given[key][0]) for key in keys if key in given), default)


def _windows(given: Fields) -> list[tuple[int, int, int]]:
    """Of both sides the filter's size, the stride and the padding."""
    return [
        (
            _number(given, f"kernel_{side}", "kernel_size", "kernelsize"),
            _number(given, f"stride_{side}", "stride", default=1),
            _number(given, f"pad_{side}", "pad"),
        )
        for side in "hw"
    ]


def _pooled(given: Fields, old: tuple[int, ...]) -> list[int]:
    """Height and width after a pooling, rounded up as Caffe does, unless the file says not."""
    if given.get("global_pooling", [""])[0] == "true":
        return [1, 1]
    floors = given.get("ceil_mode", [""])[0] == "false" or given.get("round_mode") == ["FLOOR"]
    sides = []
    for n, (k, u, p) in zip(old, _windows(given), strict=True):
        side = (n + 2 * p - k) // u + 1 if floors else ceil((n + 2 * p - k) / u) + 1
        sides.append(side - (p > 0 and (side - 1) * u >= n + p))
    return sides


def _own(key: str) -> bool:
    return key not in ("transform_param", "include", "propagate_down")
