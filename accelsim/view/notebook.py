"""The text of ``describe`` as HTML for notebooks: the same words in the same order, tables as
tables, and no script.
"""

from __future__ import annotations

import html as escape
import re
from typing import Any

from accelsim.mapping.files import MappingFile
from accelsim.mapping.loops_text import show
from accelsim.mapping.mapping import Mapping
from accelsim.mapping.nest import Nest
from accelsim.view.describe import describe

STYLE = (
    "<style>.accelsim table{border-collapse:collapse;margin:.5em 0}"
    ".accelsim td,.accelsim th{padding:.1em .7em;text-align:left;font-variant-numeric:tabular-nums;vertical-align:top}"
    ".accelsim thead th{border-bottom:1px solid}.accelsim tr.total td{border-top:1px solid}"
    ".accelsim td.n,.accelsim th.n{text-align:right}.accelsim pre{margin:.5em 0;line-height:1.45}.accelsim p{margin:.3em 0}</style>"
)


def html(model: Any) -> str:
    """An architecture, a dataflow, a workload, a mapping or a nest as ``accelsim show`` prints
    it.
    """
    if isinstance(model, Mapping):
        model = MappingFile(name="mapping", loops=model.loops, keep=model.keep, fused=model.fused)
    if isinstance(model, Nest):
        return f'{STYLE}<div class="accelsim"><pre>{escape.escape(show(model))}</pre></div>'
    first, _, rest = describe(model).partition("\n")
    blocks = [f"<p><b>{escape.escape(first)}</b></p>"]
    blocks += [_block(block.split("\n")) for block in re.split(r"\n{2,}", rest.strip("\n"))]
    return f'{STYLE}<div class="accelsim">{"".join(blocks)}</div>'


def _block(lines: list[str]) -> str:
    """Lines without a blank one between: a table if a rule stands under the first, else as they
    are.
    """
    if len(lines) > 1 and re.fullmatch(r"-+(  -+)*", lines[1]):
        return _table(lines)
    if len(lines) == 1:
        return f"<p>{escape.escape(lines[0])}</p>"
    return f"<pre>{escape.escape(chr(10).join(lines))}</pre>"


def _table(lines: list[str]) -> str:
    """A table by the columns of its rule; numbers are those columns whose cells end at the
    right.
    """
    rule = lines[1]
    spans = [m.span() for m in re.finditer("-+", rule)]
    head = [lines[0][a:b] for a, b in spans]
    body, total = [], False
    for line in lines[2:]:
        if line == rule:
            total = True
            continue
        body.append((total, [line[a:b] for a, b in spans]))
    right = [
        _right([head[k], *(cells[k] for _, cells in body)], b - a) for k, (a, b) in enumerate(spans)
    ]

    def row(cells: list[str], tag: str, total: bool = False) -> str:
        inside = "".join(
            f"<{tag}{' class=n' if n else ''}>{escape.escape(c.strip())}</{tag}>"
            for c, n in zip(cells, right, strict=True)
        )
        return f"<tr{' class=total' if total else ''}>{inside}</tr>"

    rows = "".join(row(cells, "td", total) for total, cells in body)
    return f"<table><thead>{row(head, 'th')}</thead><tbody>{rows}</tbody></table>"


def _right(cells: list[str], width: int) -> bool:
    return any(c.startswith(" ") for c in cells) and all(
        len(c) == width and not c.endswith(" ") for c in cells if c.strip()
    )
