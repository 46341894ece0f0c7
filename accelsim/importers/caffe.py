"""Caffe prototxt: a network's layers in the present (``layer``), the 2014 (``layers``, TYPE) and
the first syntax (``layers { layer {``).

Fields as in BVLC Caffe's caffe.proto.  What only training has (loss layers' labels, accuracy,
fillers, learning rates, layers of phase TRAIN) is left out and said in the notes.

Each layer is brought to the present syntax first (``_modern``), so that converters
(``caffe_layers``) know one.  Blobs are Caffe's names of tensors; layers stand in the order they
run.  The network is that of phase TEST; data that only training reads say what its images are where
nothing else does.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Sequence

from accelsim.base.errors import InputError, nearest
from accelsim.importers.caffe_fields import At, CaffeLayer, whole_field
from accelsim.importers.caffe_layers import LAYERS, REGIONS, region_shape
from accelsim.importers.network_builder import (
    Imported,
    NetworkBuilder,
    UnsupportedError,
    read_text,
    stem,
    with_skips,
)
from accelsim.importers.text_format import Message, Word, parse
from accelsim.workload.operators.operator import Shape

MAX_BYTES = 5_000_000
_LOSSES = re.compile(r"Accuracy$|Loss(OHEM)?$|Loss$")

# Names of the 2014 and the first syntax to the present ones.
# Types of the second syntax are words in capitals, SOFTMAX_LOSS; of the first, and of a few files
# between, other names of their own.
_OLD_TYPES = {
    "conv": "Convolution",
    "pool": "Pooling",
    "softmax_loss": "SoftmaxWithLoss",
    "silence": "Silence",
    "accuracy": "Accuracy",
} | {
    name: kind
    for kind in (
        *LAYERS,
        *("Data", "HDF5Data", "ImageData", "DummyData", "MemoryData", "WindowData", "HDF5Output"),
        *("EuclideanLoss", "HingeLoss", "InfogainLoss", "SigmoidCrossEntropyLoss", "ArgMax"),
        *("MultinomialLogisticLoss", "ContrastiveLoss", "Im2col", "Threshold"),
    )
    for name in (kind.lower(), re.sub(r"(?<=[a-z5])(?=[A-Z])", "_", kind).lower())
}
_SOURCES = (
    *("Data", "ImageData", "HDF5Data", "MemoryData", "DummyData", "WindowData", "Input"),
    *("AnnotatedData", "ImageSegData", "VideoData"),
)
# What only works on a network's answer (boxes, places of the largest): left out, unless layers of
# the array stand behind it.
_BEHIND = ("ArgMax", "DetectionOutput", "PriorBox", "Proposal", "Python")
_ON_THE_ARRAY = ("Convolution", "Deconvolution", "InnerProduct", "LSTM", "RNN")
_TRAINING = ("Silence", "HDF5Output", "DetectionEvaluate", "BoxAnnotatorOHEM")
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


def import_caffe(
    file: str | os.PathLike[str],
    input_shape: Shape | None = None,
    skip: Collection[str] = (),
) -> Imported:
    """A prototxt as a workload; ``input_shape``, the batch left out, is for a file that reads a
    database and states none.  ``skip`` are types of layers that are left out, with all that reads
    what they make.

    Raises InputError with the place for what is wrong, UnsupportedError for layers there is no
    operator for.
    """
    net = parse(read_text(file, MAX_BYTES), file)

    def read(types: frozenset[str]) -> Imported:
        return _CaffeImport(net, file, input_shape, types).run()

    try:
        return read(frozenset(skip))
    except UnsupportedError as error:
        raise with_skips(error, frozenset(skip), _ON_THE_ARRAY, read) from None


class _CaffeImport:
    """A walk over the layers.  ``blobs`` has the tensor of every blob there is, ``missing`` the
    reason of each that a layer makes and that cannot be had, ``labels`` those of training's labels.
    """

    def __init__(
        self,
        net: Message,
        file: str | os.PathLike[str],
        input_shape: Shape | None,
        skip: frozenset[str],
    ) -> None:
        names = net.all("name")
        self.net, self.file, self.shape, self.skip = net, file, input_shape, skip
        self.cut: dict[str, str] = {}
        self.behind: dict[str, int] = {}
        self.asked: set[str] = set()
        self.builder = NetworkBuilder(
            str(names[-1]) if names and isinstance(names[-1], str) else stem(file), file
        )
        self.blobs: dict[str, str] = {}
        self.unsupported: list[tuple[str, str]] = []
        self.types: set[str] = set()  # of the unsupported
        self.read: set[str] = set()
        self.places: set[str] = set()  # of regions, in pictures
        self.regions: dict[str, tuple[str, str]] = {}  # by their maps: who cuts them, its type
        self.lost: set[str] = set()
        self.missing: dict[str, str] = {}
        self.labels: set[str] = set()
        self.batches: dict[str, int] = {}
        self.shared: dict[str, tuple[str, str]] = {}
        self.halves: set[str] = set()

    def run(self) -> Imported:
        layers = [self._modern(m) for key in ("layer", "layers") for m in self.net.messages(key)]
        if not layers:
            solver = any(key in self.net.names for key in ("net", "train_net", "base_lr"))
            raise InputError(
                "is a solver's file: the network is in the file that its net names"
                if solver
                else "must have layers (layer { ... })",
                file=self.file,
                line=1,
                column=1,
                got=", ".join(self.net.names[:5]) or "nothing",
            )
        self._declared_inputs()
        layers = self._of_testing(layers)
        self.readers = Counter(b for layer in layers for b in map(str, layer.all("bottom")))
        self.made = {t for layer in layers for t in map(str, layer.all("top"))}
        for layer in layers:
            self._layer(layer)
        self._regions_alone()
        if self.unsupported:
            raise UnsupportedError(self.file, self.unsupported, self.types)
        if not self.builder.entries:
            raise InputError(
                "must have a layer besides its inputs", file=self.file, line=1, column=1
            )
        for label, number in self.behind.items():
            rest = f", and {number} layers that read it," if number else ""
            how = "skipped" if label in self.asked else "left out, it works on the answer"
            self.builder.notes.append(f"{label} {how}: what it makes{rest} is not in the result")
        told = self.read | self.places
        for batch in sorted({n for x, n in self.batches.items() if n > 1 and x in told}):
            self.builder.notes.append(f"the file's batch of {batch} is left out: --batch {batch}")
        return self.builder.done(f"imported from {os.path.basename(os.fspath(self.file))} (Caffe)")

    # Which layers there are -----------------------------------------------------------------------

    def _of_testing(self, layers: list[Message]) -> list[Message]:
        """The layers that testing has, and data layers of training alone for what nothing else
        makes.
        """
        tested = [layer for layer in layers if _in_testing(layer)]
        made = {*self.blobs, *(t for layer in tested for t in map(str, layer.all("top")))}
        kept = []
        for layer in layers:
            kind, name = str(layer.all("type")[-1]), _name_of(layer)
            tops = [str(v) for v in layer.all("top")]
            if _in_testing(layer):
                kept.append(layer)
            elif kind in _SOURCES and tops and tops[0] not in made:
                made |= set(tops)
                kept.append(layer)
                self.builder.notes.append(f"{name} ({kind}) is of training: its images are taken")
            else:
                self.builder.notes.append(f"{name} ({kind}) left out: only training has it")
        return kept

    # Shapes of inputs -----------------------------------------------------------------------------

    def _declared_inputs(self) -> None:
        names = [str(v) for v in self.net.all("input")]
        dims = [whole_field(v, "input_dim", self._at(self.net)) for v in self.net.all("input_dim")]
        shapes = [self._dims(m) for m in self.net.messages("input_shape")]
        shapes = shapes or [dims[i : i + 4] for i in range(0, len(dims), 4)]
        for i, name in enumerate(names):
            self._input(name, shapes[i] if i < len(shapes) else None, self.net)

    def _dims(self, shape: Message) -> list[int]:
        return [whole_field(v, "dim", self._at(shape)) for v in shape.all("dim")]

    def _input(self, blob: str, shape: Sequence[int] | None, where: Message) -> None:
        """An input of a shape that begins with the batch, or of the one that was asked for."""
        sizes = tuple((shape or ())[1:] or self.shape or ())
        if not sizes or any(n < 1 for n in sizes):
            raise self._error(
                f"input {blob} has no shape here; give one (--input 3x227x227)", where
            )
        tensor = self.blobs[blob] = self.builder.input(blob, sizes)
        if shape:
            self.batches[tensor] = shape[0]

    def _source(self, layer: Message, name: str, kind: str, tops: list[str]) -> None:
        """The inputs that a data layer is: all of an Input's and of a DummyData's tops, else the
        first, the others being labels.
        """
        if kind in ("Input", "DummyData"):
            given = layer.message("input_param" if kind == "Input" else "dummy_data_param")
            shapes = [self._dims(m) for m in given.messages("shape")]
            if not shapes and kind == "DummyData":
                sides = [given.all(key) for key in ("num", "channels", "height", "width")]
                each = zip(*sides, strict=False)
                shapes = [[whole_field(v, "num", self._at(layer)) for v in four] for four in each]
            for i, top in enumerate(tops):
                self._input(top, shapes[min(i, len(shapes) - 1)] if shapes else None, layer)
            return
        if tops:
            stated, how = self._stated_shape(layer, kind)
            shape = [1, *self.shape] if self.shape else stated
            self._input(tops[0], shape, layer)
            if how and not self.shape:
                self.builder.notes.append(f"{name}: {how}")
            self.labels |= set(tops[1:])

    def _stated_shape(self, layer: Message, kind: str) -> tuple[list[int] | None, str]:
        """The shape that a data layer says its images have, the batch first, and what was taken to
        be so.
        """

        def number(group: str, key: str) -> int:
            values = layer.message(group).all(key)
            return whole_field(values[-1], key, self._at(layer)) if values else 0

        if kind == "MemoryData":
            keys = ("batch_size", "channels", "height", "width")
            four = [number("memory_data_param", key) for key in keys]
            return (four if all(four) else None), ""
        own = {"ImageData": "image_data_param", "WindowData": "window_data_param"}
        group = own.get(kind, "data_param")
        transform = layer.message("transform_param")
        side = number("transform_param", "crop_size") or number(group, "crop_size")
        height, width = side, side
        source = "crop_size"
        if not side and kind == "ImageData":
            height, width = number(group, "new_height"), number(group, "new_width")
            source = "new_height, new_width"
        if not (height and width) and (resize := transform.messages("resize_param")):
            sizes = [resize[-1].all(key) for key in ("height", "width")]
            if all(sizes):
                height, width = (whole_field(v[-1], "height", self._at(layer)) for v in sizes)
                source = "resize_param"
        if not (height and width):
            return None, ""
        means = len(transform.all("mean_value"))
        gray = transform.all("force_gray")[-1:] == [True]
        gray = gray or layer.message(group).all("is_color")[-1:] == [False]
        channels = 1 if gray else means if means > 1 else 3
        taken = "" if gray or means > 1 else ", taken to have 3 channels"
        return [1, channels, height, width], (
            f"images of {kind} of {height}x{width} ({source}){taken}"
        )

    # Layers ---------------------------------------------------------------------------------------

    def _modern(self, layer: Message) -> Message:
        """A layer of any syntax as one of the present."""
        inner = layer.messages("layer")
        modern = Message(layer.line, layer.column, [f for f in layer.fields if f[0] != "layer"])
        if inner:
            modern.fields += inner[-1].fields
        kind = next((v for v in reversed(modern.all("type")) if isinstance(v, str)), "")
        if isinstance(kind, Word) or inner or kind.isupper():
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
        kind, name = str(layer.all("type")[-1]), _name_of(layer)
        tops, bottoms = [str(v) for v in layer.all("top")], [str(v) for v in layer.all("bottom")]
        if kind in _SOURCES or (kind == "Python" and not bottoms and tops):
            self._source(layer, name, kind, tops)
            return
        if kind.startswith("SoftmaxWithLoss"):
            kind, bottoms = "Softmax", bottoms[:1]
            self.builder.notes.append(f"{name}: softmax without the loss")
        if _LOSSES.search(kind) or kind in _TRAINING or any(b in self.labels for b in bottoms):
            why = "" if kind == "Silence" else ": it needs labels"
            self.builder.notes.append(f"{name} ({kind}) left out{why}")
            self.labels |= set(tops)
            return
        if label := next((self.cut[b] for b in bottoms if b in self.cut), None):
            self.behind[label] += 1
            self.cut |= dict.fromkeys(tops, label)
            if kind in _ON_THE_ARRAY and label not in self.asked:
                self.asked.add(label)
                self._refuse(label, f"there is no operator for it, and {name} needs it")
            return
        if kind in self.skip or (kind in _BEHIND and bottoms and kind not in LAYERS):
            label = f"{name} ({kind})"
            self.behind[label] = 0
            self.asked |= {label} if kind in self.skip else set()
            self.cut |= dict.fromkeys(tops, label)
            return
        if any(b in self.lost for b in bottoms):
            self.lost |= set(tops)
            return
        self._check_made(bottoms, name, layer)
        if kind in REGIONS and len(bottoms) == 2 and not self.missing.keys() & {*bottoms}:
            self._cut_regions(layer, name, kind, tops, bottoms)
            return
        alone = all(b in tops or self.readers[b] == 1 for b in bottoms)
        xs = [self.blobs.get(b, "") for b in bottoms]
        call = CaffeLayer(
            self.builder, name, kind, layer, self.file, xs, tops, alone, self.shared, self.halves
        )
        try:
            tensors = self._converted(call, bottoms)
        except InputError:
            raise
        except ValueError as error:
            self._refuse(f"{name} ({kind}, line {layer.line})", str(error), kind)
            self.lost |= set(tops)
            return
        self.read |= {*xs}
        for top, tensor in zip(tops, tensors, strict=False):
            self.blobs[top] = tensor
            self.missing.pop(top, None)
        for top in tops[len(tensors) :]:
            self.blobs.pop(top, None)
            self.missing[top] = f"what {name} ({kind}) makes besides its first top"

    def _converted(self, call: CaffeLayer, bottoms: Sequence[str]) -> list[str]:
        """The tensors of a layer's tops.  Raises ValueError with the reason if there are none."""
        for blob in bottoms:
            if blob in self.missing:
                raise ValueError(f"{blob}, {self.missing[blob]}, cannot be imported")
        convert = LAYERS.get(call.kind)
        if convert is None:
            close = nearest(call.kind, LAYERS)
            near = f"; nearest: {', '.join(close)}" if close else ""
            raise ValueError(f"there is no operator for {call.kind}{near}")
        if not bottoms:
            raise ValueError(f"{call.kind} reads nothing")
        return convert(call)

    def _refuse(self, label: str, why: str, kind: str = "") -> None:
        """Notes a layer that cannot be imported; its type, if the label does not end in it."""
        self.unsupported.append((label, why))
        self.types.add(kind or label[label.rindex("(") + 1 : -1])

    # Regions of interest --------------------------------------------------------------------------

    def _cut_regions(
        self, layer: Message, name: str, kind: str, tops: list[str], bottoms: list[str]
    ) -> None:
        """Maps of one region as an input of the network, whose batch is regions then: if they are
        cut out of an input, since no other layer may count by pictures.
        """
        maps = self.blobs[bottoms[0]]
        call = CaffeLayer(
            *(self.builder, name, kind, layer, self.file, [maps], tops, False),
            *(self.shared, self.halves),
        )
        label = f"{name} ({kind}, line {layer.line})"
        try:
            shape = region_shape(call)
            if maps not in self.builder.inputs:
                raise ValueError("which regions, and how many, is known only when it runs")
        except ValueError as error:
            self._refuse(label, str(error), kind)
            self.lost |= set(tops)
            return
        made = self.builder.input(tops[0] if tops else name, shape)
        self.regions[made] = label, kind
        self.places.add(self.blobs[bottoms[1]])
        self.blobs |= dict.fromkeys(tops[:1], made)
        sides = "x".join(map(str, shape))
        self.builder.notes.append(
            f"{name} ({kind}) left out: the {sides} words of a region are an input, and the batch"
            " is regions"
        )

    def _regions_alone(self) -> None:
        """Leaves out inputs that only regions were cut from.  Refuses regions beside layers that
        count by pictures.
        """
        if not self.regions:
            return
        others = [x for x in self.builder.inputs if x not in self.regions]
        if beside := next((x for x in others if x in self.read), None):
            label, kind = next(iter(self.regions.values()))
            self._refuse(label, f"{beside} is read beside the regions", kind)
            return
        self.builder.without_inputs(others)

    def _check_made(self, bottoms: Sequence[str], name: str, layer: Message) -> None:
        for blob in bottoms:
            if blob in self.blobs or blob in self.missing:
                continue
            rule = (
                f"{name} reads {blob} before any layer makes it (a circle, or a wrong order)"
                if blob in self.made
                else f"{name}: no layer makes {blob}"
            )
            raise self._error(rule, layer)

    def _at(self, message: Message) -> At:
        return self.file, message.line, message.column

    def _error(self, rule: str, message: Message) -> InputError:
        return InputError(rule, file=self.file, line=message.line, column=message.column)


def _name_of(layer: Message) -> str:
    return str((layer.all("name") or ["layer"])[-1])


def _in_testing(layer: Message) -> bool:
    """Whether a network of phase TEST, level 0 and no stages has a layer, by caffe.proto's rules:
    one of the ``include`` holds, or none of the ``exclude``.
    """

    def holds(rule: Message) -> bool:
        def least(key: str) -> list[int]:
            return [v for v in rule.all(key) if isinstance(v, int) and not isinstance(v, bool)]

        phases = [str(v) for v in rule.all("phase")][-1:]
        return (
            phases in ([], ["TEST"], ["1"])
            and max(least("min_level"), default=0) <= 0
            and min(least("max_level"), default=0) >= 0
            and not rule.all("stage")
        )

    if included := layer.messages("include"):
        return any(map(holds, included))
    return not any(map(holds, layer.messages("exclude")))
