"""A nest as for-loops: each loop with its level, each level with the tiles it keeps.

``print(nest)``, ``accelsim show``, the explorer and the player show these lines.
"""

from __future__ import annotations

from accelsim.mapping.nest import Nest
from accelsim.workload.problem import TENSORS


def show(nest: Nest) -> str:
    """Loops outermost first; ``parallel-for`` lies over rows or columns; tiles in words and
    bytes.
    """
    lines: list[str] = []
    depth = 0
    for level, name in enumerate(nest.arch.level_names):
        lines.append("  " * depth + f"{name} keeps {_kept(nest, level)}")
        for loop in (x for x in nest.loops if x.level == level):
            word, where = "for", ""
            if loop.axis != "none":
                word, where = "parallel-for", f" over {loop.axis}s"
            pieces = f"{loop.trips} pieces of {loop.tile}"
            lines.append("  " * depth + f"{word} {loop.dim.lower()} in {pieces}{where}  ({name})")
            depth += 1
    lines.append("  " * depth + _statement(nest))
    return "\n".join([*lines, *_fused(nest)])


def _kept(nest: Nest, level: int) -> str:
    """The largest tiles a level keeps, in words and bytes; bytes count both buffers of a
    double-buffered level.
    """
    kept = [t for t in TENSORS if t in nest.keep[level]]
    if not kept:
        return "nothing"
    foot = nest.footprint
    return ", ".join(
        f"{t} {foot.tile_words(level, t)} words ({foot.tile_bytes(level, t)} bytes)" for t in kept
    )


def _fused(nest: Nest) -> list[str]:
    """A line for each fused dimension that some loop runs over."""
    lines = []
    for name in sorted({x.dim for x in nest.loops if x.dim in nest.fused}):
        parts = [part.lower() for part in nest.fused[name]]
        lines.append(f"{name.lower()} runs over {', '.join(parts)}, {parts[0]} slowest")
    return lines


def _statement(nest: Nest) -> str:
    """What the innermost loop does to one word of each tensor, in the problem's direction."""
    p = nest.problem
    h = _affine("e", p.stride[0], "r", p.dilation[0], p.padding[0])
    w = _affine("f", p.stride[1], "s", p.dilation[1], p.padding[2])
    weight, ifmap, ofmap = "weight[g,m,c,r,s]", f"ifmap[n,g,c,{h},{w}]", "ofmap[n,g,m,e,f]"
    return {
        "forward": f"{ofmap} += {ifmap} * {weight}",
        "grad_weight": f"{weight} += {ifmap} * {ofmap}",
        "grad_input": f"{ifmap} += {weight} * {ofmap}",
    }[p.direction]


def _affine(out: str, stride: int, filt: str, dilation: int, pad: int) -> str:
    """Where a window reads: ``2e+r-1`` for stride 2 and padding 1."""
    a = out if stride == 1 else f"{stride}{out}"
    b = filt if dilation == 1 else f"{dilation}{filt}"
    return f"{a}+{b}" + (f"-{pad}" if pad else "")
