"""Makes ``docs/onnx_operators.md``: every operator of ONNX's newest opset, and what becomes of it,
from the onnx package's list and the importer's own tables.

Run: python docs/onnx_operators.py.  ``tests/test_importers_onnx_kept.py`` holds the page to it.
"""

from __future__ import annotations

from pathlib import Path

from accelsim.importers.onnx_composed import COMPOSED
from accelsim.importers.onnx_constants import FOLDED
from accelsim.importers.onnx_operators import CONVERT
from accelsim.importers.onnx_refused import REFUSED
from accelsim.importers.onnx_transformers import ROTARY

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Operators of ONNX

What becomes of each operator of ONNX's opset {opset} when a model is [imported](importing.md).
Made by `docs/onnx_operators.py` from the list of the `onnx` package and the importer's tables.

| | operators |
|---|---|
{counts}

*Known*: a node whose inputs are all known when the model is read (sizes, places, constants) is
worked out by the importer and is not in the network. Refused nodes are listed by name, and nothing
is imported without them unless `--skip` names their type.

| operator | since opset | becomes | |
|---|---|---|---|
"""
# What is taken of an operator where that is not all of it, or not for itself.
REMARKS = {
    "Attention": "grouped heads, a past, causal and given masks",
    "BatchNormalization": "of testing; `--fold` folds it into the layer before",
    "Cast": "the words as they are",
    "Conv": "one or two dimensions",
    "ConvTranspose": "one or two dimensions",
    "DequantizeLinear": "its scale is the tensor's or the weights'",
    "Dropout": "nothing to do in testing",
    "Gather": "known places, or rows of a table by tokens",
    "Gelu": "the exact one",
    "QLinearConv": "the float layer, with scales beside the weights",
    "QLinearMatMul": "the float layer, with scales beside the weights",
    "QuantizeLinear": "its scale is the tensor's",
    "Reshape": "the batch stays first",
    "Resize": "nearest by whole multiples; linear to any size, by centres or corners",
    "RotaryEmbedding": "tables that are known, or looked up",
    "Transpose": "the batch stays first",
    "Where": "a known condition",
}


def becomes(operator: str) -> str:
    """What the importer makes of an operator."""
    made = (
        "one of ours"
        if operator in CONVERT
        else "several of ours"
        if operator in {**COMPOSED, **ROTARY}
        else ""
    )
    known = "known" if operator in {**FOLDED, "Constant": None} else ""
    return ", or ".join(filter(None, (made, known))) or "refused"


def page() -> str:
    """The page's text, for the onnx package that is installed."""
    from onnx import defs

    schemas = {x.name: x for x in defs.get_all_schemas() if x.domain == "" and not x.deprecated}
    rows, counts = [], dict.fromkeys(("one of ours", "several of ours", "known", "refused"), 0)
    for name, schema in sorted(schemas.items()):
        what = becomes(name)
        counts[what.split(",")[0]] += 1
        remark = REMARKS.get(name, "")
        if name in REFUSED and what in ("refused", "known"):
            remark = REFUSED[name]
        rows.append(f"| {name} | {schema.since_version} | {what} | {remark} |\n")
    summed = "\n".join(f"| {what} | {number} |" for what, number in counts.items())
    return HEAD.format(opset=defs.onnx_opset_version(), counts=summed) + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
