"""Caffe prototxt: a network's layers in the present (``layer``), the 2014 (``layers``, TYPE) and
the first syntax (``layers { layer {``).

Fields as in BVLC Caffe's caffe.proto.  What only training has (loss layers' labels, accuracy,
fillers, learning rates, layers of phase TRAIN) is left out and said in the notes.

Each layer is brought to the present syntax first (``_modern``), so that converters know one.  Blobs
are Caffe's names of tensors; layers stand in the order they run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from accelsim.base.errors import InputError
from accelsim.importers.network_builder import (
    Imported,
    NetworkBuilder,
    UnsupportedError,
    read_text,
    stem,
)
from accelsim.importers.text_format import Message, Word, parse
from accelsim.workload.operators.operator import Shape

MAX_BYTES = 5_000_000

# Names of the 2014 and the first syntax to the present ones.
_OLD_TYPES = {
    "bn": "BatchNorm",
    "concat": "Concat",
    "conv": "Convolution",
    "convolution": "Convolution",
    "data": "Data",
    "deconvolution": "Deconvolution",
    "dropout": "Dropout",
    "eltwise": "Eltwise",
    "flatten": "Flatten",
    "hdf5_data": "HDF5Data",
    "image_data": "ImageData",
    "inner_product": "InnerProduct",
    "innerproduct": "InnerProduct",
    "lrn": "LRN",
    "pool": "Pooling",
    "pooling": "Pooling",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "softmax_loss": "SoftmaxWithLoss",
    "split": "Split",
    "tanh": "TanH",
    "accuracy": "Accuracy",
    "dummy_data": "DummyData",
    "memory_data": "MemoryData",
    "elu": "ELU",
}
_SOURCES = ("Data", "ImageData", "HDF5Data", "MemoryData", "DummyData", "WindowData", "Input")
_WITH_LABELS = (
    "Accuracy",
    "EuclideanLoss",
    "HingeLoss",
    "SigmoidCrossEntropyLoss",
    "InfogainLoss",
    "MultinomialLogisticLoss",
    "ContrastiveLoss",
)
# The first syntax has every layer's parameters in one message.
_FIRST = {
    "Convolution": (
        "convolution_param",
        {"num_output", "kernelsize", "pad", "stride", "group", "biasterm"},
    ),
    "InnerProduct": ("inner_product_param", {"num_output", "biasterm"}),
    "Pooling": ("pooling_param", {"pool", "kernelsize", "pad", "stride"}),
    "LRN": ("lrn_param", {"local_size", "alpha", "beta", "k"}),
    "Dropout": ("dropout_param", {"dropout_ratio"}),
    "Concat": ("concat_param", {"concat_dim"}),
}
_RENAMED = {"kernelsize": "kernel_size", "biasterm": "bias_term"}


def import_caffe(file: str | os.PathLike[str], input_shape: Shape | None = None) -> Imported:
    """A prototxt as a workload; ``input_shape``, the batch left out, is for a file that reads a
    database and states none.

    Raises InputError with the place for what is wrong, UnsupportedError for layers there is no
    operator for.
    """
    net = parse(read_text(file, MAX_BYTES), file)
    return _Importing(net, file, input_shape).run()


class _Importing:
    def __init__(
        self, net: Message, file: str | os.PathLike[str], input_shape: Shape | None
    ) -> None:
        names = net.all("name")
        self.net, self.file, self.shape = net, file, input_shape
        self.builder = NetworkBuilder(
            str(names[-1]) if names and isinstance(names[-1], str) else stem(file), file
        )
        self.blobs: dict[str, str] = {}
        self.unsupported: list[tuple[str, str]] = []
        self.lost: set[str] = set()
        self.labels: set[str] = set()

    def run(self) -> Imported:
        layers = [self._modern(m) for key in ("layer", "layers") for m in self.net.messages(key)]
        if not layers:
            raise InputError(
                "must have layers (layer { ... })",
                file=self.file,
                line=1,
                column=1,
                got=", ".join(self.net.names[:5]) or "nothing",
            )
        self._declared_inputs()
        for layer in layers:
            self._layer(layer)
        if self.unsupported:
            raise UnsupportedError(self.file, self.unsupported)
        if not self.builder.entries:
            raise InputError(
                "must have a layer besides its inputs", file=self.file, line=1, column=1
            )
        return self.builder.done(f"imported from {os.path.basename(os.fspath(self.file))} (Caffe)")

    # Shapes of inputs -----------------------------------------------------------------------------

    def _declared_inputs(self) -> None:
        names = [str(v) for v in self.net.all("input")]
        dims = [_whole(v, "input_dim", self._at(self.net)) for v in self.net.all("input_dim")]
        shapes = [
            [_whole(v, "dim", self._at(m)) for v in m.all("dim")]
            for m in self.net.messages("input_shape")
        ]
        shapes = shapes or [dims[i : i + 4] for i in range(0, len(dims), 4)]
        for i, name in enumerate(names):
            shape = shapes[i] if i < len(shapes) else None
            self._input(name, shape[1:] if shape else None, self.net)

    def _input(self, blob: str, shape: Sequence[int] | None, where: Message) -> None:
        sizes = tuple(shape or self.shape or ())
        if not sizes or any(n < 1 for n in sizes):
            raise self._error(
                f"input {blob} has no shape here; give one (--input 3x227x227)", where
            )
        self.blobs[blob] = self.builder.input(blob, sizes)

    def _source(self, layer: Message, name: str, kind: str, tops: list[str]) -> None:
        if kind == "Input":
            shapes = layer.message("input_param").messages("shape")
            for i, top in enumerate(tops):
                dims = (
                    [
                        _whole(v, "dim", self._at(layer))
                        for v in shapes[min(i, len(shapes) - 1)].all("dim")
                    ]
                    if shapes
                    else None
                )
                self._input(top, dims[1:] if dims else None, layer)
            return
        if tops:
            crop = layer.message("transform_param").all("crop_size") or layer.message(
                "data_param"
            ).all("crop_size")
            side = _whole(crop[-1], "crop_size", self._at(layer)) if crop else 0
            self._input(tops[0], self.shape or ((3, side, side) if side else None), layer)
            if side and not self.shape:
                self.builder.notes.append(
                    f"{name}: images of {kind} taken to have 3 channels of {side}x{side}"
                    " (crop_size)"
                )
            self.labels |= set(tops[1:])

    # Layers ---------------------------------------------------------------------------------------

    def _modern(self, layer: Message) -> Message:
        """A layer of any syntax as one of the present."""
        inner = layer.messages("layer")
        modern = Message(layer.line, layer.column, [f for f in layer.fields if f[0] != "layer"])
        if inner:
            modern.fields += inner[-1].fields
        kind = next((v for v in reversed(modern.all("type")) if isinstance(v, str)), "")
        if isinstance(kind, Word) or inner:
            kind = _OLD_TYPES.get(kind.lower(), kind)
        modern.fields = [f for f in modern.fields if f[0] != "type"] + [
            ("type", kind, (layer.line, layer.column))
        ]
        if inner and kind in _FIRST:
            group, keys = _FIRST[kind]
            moved = Message(
                layer.line,
                layer.column,
                [(_RENAMED.get(k, k), v, at) for k, v, at in modern.fields if k in keys],
            )
            modern.fields = [f for f in modern.fields if f[0] not in keys] + [
                (group, moved, (layer.line, layer.column))
            ]
        return modern

    def _layer(self, layer: Message) -> None:
        kind, name = str(layer.all("type")[-1]), str((layer.all("name") or ["layer"])[-1])
        tops, bottoms = [str(v) for v in layer.all("top")], [str(v) for v in layer.all("bottom")]
        if any(
            "TRAIN" in [str(v) for v in rule.all("phase")] for rule in layer.messages("include")
        ) or any(
            "TEST" in [str(v) for v in rule.all("phase")] for rule in layer.messages("exclude")
        ):
            self.builder.notes.append(f"{name} ({kind}) left out: only training has it")
            return
        if kind in _SOURCES:
            self._source(layer, name, kind, tops)
            return
        if kind in _WITH_LABELS or kind == "Silence":
            self.builder.notes.append(
                f"{name} ({kind}) left out: it needs labels"
                if kind != "Silence"
                else f"{name} (Silence) left out"
            )
            self.labels |= set(tops)
            return
        if kind == "SoftmaxWithLoss":
            kind, bottoms = "Softmax", bottoms[:1]
            self.builder.notes.append(f"{name}: softmax without the loss")
        if any(b in self.lost for b in bottoms):
            self.lost |= set(tops)
            return
        self._check_made(bottoms, name, layer)
        convert = _LAYERS.get(kind)
        try:
            if convert is None or not bottoms:
                raise ValueError(
                    f"there is no operator for {kind}" if bottoms else f"{kind} reads nothing"
                )
            tensor = convert(self, name, layer, [self.blobs[b] for b in bottoms])
        except InputError:
            raise
        except ValueError as error:
            self.unsupported.append((f"{name} ({kind}, line {layer.line})", str(error)))
            self.lost |= set(tops)
            return
        for top in tops:
            self.blobs[top] = tensor

    def _check_made(self, bottoms: Sequence[str], name: str, layer: Message) -> None:
        for blob in bottoms:
            if blob in self.blobs:
                continue
            later = any(
                blob in map(str, m.all("top"))
                for key in ("layer", "layers")
                for m in self.net.messages(key)
            )
            rule = (
                f"{name} reads {blob} before any layer makes it (a circle, or a wrong order)"
                if later
                else f"{name}: no layer makes {blob}"
            )
            raise self._error(rule, layer)

    def _at(self, message: Message) -> tuple[str | os.PathLike[str], int, int]:
        return self.file, message.line, message.column

    def _error(self, rule: str, message: Message) -> InputError:
        return InputError(rule, file=self.file, line=message.line, column=message.column)


At = tuple[str | os.PathLike[str], int, int]


def _whole(value: Any, key: str, at: At) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise InputError(
            f"{key} must be a whole number",
            file=at[0],
            line=at[1],
            column=at[2],
            got=str(value)[:40],
        )
    return value


class _Fields:
    """A layer's parameters.  What is not asked for is refused, unless it only concerns training or
    how Caffe computes.
    """

    IGNORED = (
        "weight_filler",
        "bias_filler",
        "engine",
        "moving_average_fraction",
        "use_global_stats",
        "filler",
        "force_nd_im2col",
        "in_place",
    )

    def __init__(self, importing: _Importing, layer: Message, group: str) -> None:
        self.at, self.message, self.asked = (
            importing._at(layer),
            layer.message(group),
            set(self.IGNORED),
        )

    def whole(self, key: str, default: int) -> int:
        self.asked.add(key)
        values = self.message.all(key)
        return _whole(values[-1], key, self.at) if values else default

    def axis(self, default: int) -> int:
        """The field ``axis``, counted after the batch."""
        axis = self.whole("axis", default)
        if axis < 1:
            raise ValueError("axis must not be the batch")
        return axis - 1

    def real(self, key: str, default: float) -> float:
        self.asked.add(key)
        values = self.message.all(key)
        if not values:
            return default
        if isinstance(values[-1], bool) or not isinstance(values[-1], (int, float)):
            raise InputError(
                f"{key} must be a number",
                file=self.at[0],
                line=self.at[1],
                column=self.at[2],
                got=str(values[-1])[:40],
            )
        return float(values[-1])

    def flag(self, key: str, default: bool) -> bool:
        self.asked.add(key)
        values = self.message.all(key)
        return bool(values[-1]) if values else default

    def word(self, key: str, default: str) -> str:
        self.asked.add(key)
        values = self.message.all(key)
        return str(values[-1]) if values else default

    def pair(self, key: str, sides: tuple[str, str], default: int) -> list[int]:
        """[vertical, horizontal] of ``key`` (one or two of it) or of its two sides."""
        self.asked |= {key, *sides}
        both = [_whole(v, key, self.at) for v in self.message.all(key)] or [default]
        if len(both) > 2:
            raise ValueError(
                f"{key} has {len(both)} numbers, only maps of two dimensions can be imported"
            )
        return [
            self.whole(side, value) for side, value in zip(sides, (both[0], both[-1]), strict=True)
        ]

    def finish(self) -> None:
        if left := [k for k in self.message.names if k not in self.asked]:
            raise ValueError(f"there is no counterpart for {', '.join(left)}")


def _kernel(given: _Fields) -> dict[str, Any]:
    r, s = given.pair("kernel_size", ("kernel_h", "kernel_w"), 0)
    stride = given.pair("stride", ("stride_h", "stride_w"), 1)
    pads = given.pair("pad", ("pad_h", "pad_w"), 0)
    if not r or not s:
        raise ValueError("kernel_size must be given")
    return {"R": r, "S": s if s != r else None, "stride": _one(stride), "padding": _one(pads)}


def _one(values: list[int]) -> Any:
    return values[0] if values[0] == values[1] else values


def _convolution(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    given = _Fields(importing, layer, "convolution_param")
    m, groups, bias = (
        given.whole("num_output", 0),
        given.whole("group", 1),
        given.flag("bias_term", True),
    )
    fields = _kernel(given) | {"dilation": given.whole("dilation", 1), "bias": bias}
    deconvolution = str(layer.all("type")[-1]) == "Deconvolution"
    given.whole("axis", 1)
    given.finish()
    if not groups or m % groups or not m:
        raise ValueError(f"group must divide num_output, got {groups} and {m}")
    channels = importing.builder.shapes[xs[0]][0]
    if not deconvolution and groups == channels and groups > 1:
        return importing.builder.add(
            "depthwise", name, xs, M=m // groups if m != groups else None, **_plain(fields)
        )
    kind = "conv_transpose" if deconvolution else "conv2d"
    return importing.builder.add(
        kind, name, xs, M=m // groups, groups=groups if groups > 1 else None, **_plain(fields)
    )


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what is the default."""
    default = {"stride": 1, "padding": 0, "dilation": 1, "bias": False}
    return {
        k: v for k, v in fields.items() if v is not None and (k not in default or v != default[k])
    }


def _inner_product(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    given = _Fields(importing, layer, "inner_product_param")
    m, bias, axis = (
        given.whole("num_output", 0),
        given.flag("bias_term", True),
        given.whole("axis", 1),
    )
    given.flag("transpose", False)
    given.finish()
    if axis != 1:
        raise ValueError(f"axis must be 1, got {axis}")
    return importing.builder.add("linear", name, xs, M=m, bias=bias or None)


def _pooling(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    given = _Fields(importing, layer, "pooling_param")
    pool = given.word("pool", "MAX")
    pool = {"0": "MAX", "1": "AVE", "2": "STOCHASTIC"}.get(pool, pool)
    whole, rounding = given.flag("global_pooling", False), given.word("round_mode", "CEIL")
    fields = {} if whole else _kernel(given)
    given.finish()
    kind = {"MAX": "max_pool", "AVE": "average_pool", "STOCHASTIC": "stochastic_pool"}.get(pool)
    if kind is None or (whole and kind == "stochastic_pool"):
        raise ValueError(f"there is no operator for pool {pool}")
    if whole:
        return importing.builder.add(f"global_{kind}", name, xs)
    ceil = True if rounding in ("CEIL", "0") else None
    extra: dict[str, Any] = (
        {"count_padding": True} if kind == "average_pool" and fields["padding"] else {}
    )
    extra |= {"expected": True} if kind == "stochastic_pool" else {}
    return importing.builder.add(
        kind,
        name,
        xs,
        ceil=ceil,
        **({k: v for k, v in fields.items() if k != "padding" or v} | extra),
    )


def _lrn(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    given = _Fields(importing, layer, "lrn_param")
    size, region = given.whole("local_size", 5), given.word("norm_region", "ACROSS_CHANNELS")
    alpha, beta, k = given.real("alpha", 1.0), given.real("beta", 0.75), given.real("k", 1.0)
    given.finish()
    if region not in ("ACROSS_CHANNELS", "0"):
        raise ValueError(f"there is no operator for norm_region {region}")
    return importing.builder.add(
        "local_response_norm", name, xs, size=size, alpha=alpha / max(size, 1), beta=beta, k=k
    )


def _relu(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    given = _Fields(importing, layer, "relu_param")
    slope = given.real("negative_slope", 0.0)
    given.finish()
    return (
        importing.builder.add("leaky_relu", name, xs, alpha=slope)
        if slope
        else importing.builder.add("relu", name, xs)
    )


def _simple(kind: str) -> Callable[[_Importing, str, Message, list[str]], str]:
    def convert(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
        return importing.builder.add(kind, name, xs)

    return convert


def _elu(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    given = _Fields(importing, layer, "elu_param")
    alpha = given.real("alpha", 1.0)
    given.finish()
    return importing.builder.add("elu", name, xs, alpha=alpha)


def _softmax(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    given = _Fields(importing, layer, "softmax_param")
    axis = given.axis(1)
    given.finish()
    return importing.builder.add("softmax", name, xs, axis=axis)


def _dropout(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    given = _Fields(importing, layer, "dropout_param")
    rate = given.real("dropout_ratio", 0.5)
    given.finish()
    return importing.builder.add("dropout", name, xs, rate=rate)


def _concat(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    given = _Fields(importing, layer, "concat_param")
    axis = given.axis(given.whole("concat_dim", 1))
    given.finish()
    return importing.builder.add("concat", name, xs, axis=axis or None)


def _eltwise(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    given = _Fields(importing, layer, "eltwise_param")
    operation = given.word("operation", "SUM")
    given.flag("stable_prod_grad", True)
    given.asked.add("coeff")
    coefficients = [
        float(v) if isinstance(v, (int, float)) else 0.0 for v in given.message.all("coeff")
    ]
    given.finish()
    if operation in ("SUM", "1") and all(c == 1 for c in coefficients):
        return importing.builder.add("add", name, xs)
    if operation in ("SUM", "1") and coefficients == [1.0, -1.0]:
        return importing.builder.add("subtract", name, xs)
    if operation in ("PROD", "0") and len(xs) == 2:
        return importing.builder.add("multiply", name, xs)
    raise ValueError(
        f"there is no operator for operation {operation} of {len(xs)} with coeff {coefficients}"
    )


def _batch_norm(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    given = _Fields(importing, layer, "batch_norm_param")
    epsilon = given.real("eps", 1e-5)
    given.finish()
    return importing.builder.add("batch_norm", name, xs, epsilon=epsilon)


def _scale(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    given = _Fields(importing, layer, "scale_param")
    given.flag("bias_term", False)
    axis = given.whole("axis", 1)
    given.finish()
    before = next((e for e in importing.builder.entries if e["name"] == xs[0]), None)
    if before is None or before["type"] != "batch_norm" or axis != 1 or len(xs) != 1:
        raise ValueError("a Scale must follow a BatchNorm, of which it is the second half")
    importing.builder.notes.append(f"{name} (Scale) is the scale and shift of {xs[0]}")
    return xs[0]


def _split(importing: _Importing, name: str, layer: Message, xs: list[str]) -> str:
    return xs[0]


_LAYERS: dict[str, Callable[[_Importing, str, Message, list[str]], str]] = {
    "Convolution": _convolution,
    "Deconvolution": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "LRN": _lrn,
    "ReLU": _relu,
    "ELU": _elu,
    "Sigmoid": _simple("sigmoid"),
    "TanH": _simple("tanh"),
    "AbsVal": _simple("abs"),
    "Flatten": _simple("flatten"),
    "Softmax": _softmax,
    "Dropout": _dropout,
    "Concat": _concat,
    "Eltwise": _eltwise,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Split": _split,
}
