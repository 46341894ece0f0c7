"""A nest as for-loops: each loop with its level, each level with the tiles it keeps.

What ``accelsim show``, notebooks, the player and the explorer print of a mapping.
"""

from __future__ import annotations

from accelsim.mapping.nest import Nest
from accelsim.workload.problem import TENSORS


def show(nest: Nest) -> str:
    """Loops outermost first; ``parallel-for`` lies over rows or columns; tiles in words and
    bytes.
    """
    names = nest.arch.level_names
    lines: list[str] = []
    depth = 0
    for level, name in enumerate(names):
        lines.append("  " * depth + f"{name} keeps {_kept(nest, level)}")
        for loop in (x for x in nest.loops if x.level == level):
            word = "for" if loop.axis == "none" else "parallel-for"
            where = "" if loop.axis == "none" else f" over {loop.axis}s"
            pieces = f"{loop.trips} pieces of {loop.tile}{where}"
            lines.append("  " * depth + f"{word} {loop.dim.lower()} in {pieces}  ({name})")
            depth += 1
    lines.append("  " * depth + _statement(nest))
    for name in sorted({x.dim for x in nest.loops if x.dim in nest.fused}):
        parts = [p.lower() for p in nest.fused[name]]
        lines.append(f"{name.lower()} runs over {', '.join(parts)}, {parts[0]} slowest")
    return "\n".join(lines)


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


def _statement(nest: Nest) -> str:
    """What stands inside all loops: the MAC, in the problem's direction."""
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
    """A sliding coordinate, ``2e+r-1``."""
    a = out if stride == 1 else f"{stride}{out}"
    b = filt if dilation == 1 else f"{dilation}{filt}"
    return f"{a}+{b}" + (f"-{pad}" if pad else "")
