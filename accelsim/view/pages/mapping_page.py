"""Pages of a mapping file, of one mapping, and of a nest: for-loops, outermost first."""

from __future__ import annotations

from accelsim.base.text_table import Block, Preformatted
from accelsim.mapping.files import MappingFile
from accelsim.mapping.loops_text import show
from accelsim.mapping.mapping import Mapping
from accelsim.mapping.nest import Nest
from accelsim.view.pages.words import lower


def file_blocks(file: MappingFile) -> tuple[Block, ...]:
    """Every mapping of a file.  How many trips a loop makes depends on the layer."""
    parts = [(layer, file.mapping(layer)) for layer in file.layers or {}]
    if file.loops is not None:
        others = Mapping(loops=file.loops, keep=file.keep or {}, fused=file.fused)
        parts.append(("any other layer" if parts else "any layer", others))
    return tuple(Preformatted((f"{layer}:", *_loop_lines(mapping))) for layer, mapping in parts)


def mapping_blocks(mapping: Mapping) -> tuple[Block, ...]:
    """One mapping, as a file that has no other would be shown."""
    file = MappingFile(loops=mapping.loops, keep=mapping.keep, fused=mapping.fused)
    return file_blocks(file)


def nest_blocks(nest: Nest) -> tuple[Block, ...]:
    """The loops with their trips, and the tiles each level keeps."""
    return (Preformatted(tuple(show(nest).splitlines())),)


def _loop_lines(mapping: Mapping) -> list[str]:
    """A line a loop and a level, then what is fused, then the loops as a file has them."""
    lines: list[str] = []
    levels = list(mapping.keep)  # those whose line is still to come, outermost first
    for depth, loop in enumerate(mapping.loops):
        while loop.level in levels:
            lines.append(_kept(mapping, levels.pop(0), depth))
        word, where = "for", ""
        if loop.axis != "none":
            word, where = "parallel-for", f" over {loop.axis}s"
        said = f"{word} {loop.dim.lower()} in pieces of {loop.tile}{where}  ({loop.level})"
        lines.append("  " * depth + said)
    innermost = len(mapping.loops)
    lines += [_kept(mapping, level, innermost) for level in levels]
    lines.append("  " * innermost + "one MAC")
    used = {loop.dim for loop in mapping.loops}
    lines += [
        f"{name.lower()} runs over {lower(parts)}, {parts[0].lower()} slowest"
        for name, parts in mapping.fused.items()
        if name in used
    ]
    return [*lines, f"loops: {mapping}"]


def _kept(mapping: Mapping, level: str, depth: int) -> str:
    return f"{'  ' * depth}{level} keeps {', '.join(mapping.keep[level]) or 'nothing'}"
