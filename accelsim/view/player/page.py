"""The page around the films: one HTML file with its style, its script and its data, and what it
says without a script.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from functools import cache
from importlib.resources import files

from accelsim.base.text_table import spaced
from accelsim.version import MODEL_VERSION, __version__
from accelsim.view.player.chapters import working
from accelsim.view.player.film import Film
from accelsim.view.player.pack import pack

# In the order in which they build on each other; one script element holds them all.
SCRIPTS = (
    "film.js", "colours.js", "array.js", "maps.js", "timeline.js", "panels.js", "player.js",
)  # fmt: skip


@cache
def _part(name: str) -> str:
    return (files("accelsim.view.player") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page(films: tuple[Film, ...], title: str) -> str:
    """The file.  Its policy allows its own script and style, by hash, and nothing else: no address,
    no image, no frame.
    """
    style, script = _part("player.css"), "".join(_part(name) for name in SCRIPTS)
    head, block = pack(films)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "title": html.escape(title),
        "style": style,
        "script": script,
        "summary": "\n".join(_summary_html(f) for f in films),
        "head": head,
        "block": block,
        "version": html.escape(f"accelsim {__version__}, model version {MODEL_VERSION}"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], _part("player.html"))


def summary(film: Film) -> str:
    """What the film shows, in words."""
    return "\n".join([film.title, *(f"{k}: {v}" for k, v in film.facts), *_sentences(film)])


def _sentences(film: Film) -> list[str]:
    """Length, work and traffic of the run, and which part of it is shown."""
    pes, cycles, last = film.rows * film.cols, film.cycles, spaced(film.last)
    shown = "All of it is shown."
    if not film.whole or film.first != 1:
        shown = (
            f"Cycles {spaced(film.first)} to {last} are shown; "
            f"counts end with those of cycle {last}."
        )
    if film.kind != "layer":
        done = spaced(film.totals.get("vector_operations", 0))
        return [
            f"The vector unit takes {spaced(cycles)} cycles for {done} operations "
            f"on {spaced(pes)} lanes.",
            shown,
        ]
    macs = film.totals["macs"]
    busy, _ = working(film.state, film.planes, film.margin)
    busiest = int(busy.argmax())
    return [
        f"The run takes {spaced(cycles)} cycles of the array and {spaced(macs)} MACs; "
        f"{100 * macs / (pes * cycles):.1f} % of the {spaced(pes)} PEs multiply in a mean cycle.",
        shown,
        f"At most {spaced(int(busy[busiest]))} of the {spaced(pes)} PEs multiply at once, "
        f"first in cycle {spaced(film.first + busiest)}.",
    ]


def _summary_html(film: Film) -> str:
    facts = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in film.facts)
    words = "".join(f"<p>{html.escape(s)}</p>" for s in _sentences(film))
    nest = html.escape("\n".join(line.text for line in film.nest))
    rows = "".join(
        f"<tr><th scope=row>{html.escape(k)}</th><td>{spaced(v)}</td></tr>"
        for k, v in film.totals.items()
    )
    return (
        f"<section><h3>{html.escape(film.title)}</h3><dl>{facts}</dl>{words}<pre>{nest}</pre>"
        "<table><caption>Counts of the whole run</caption>"
        f"<tbody>{rows}</tbody></table></section>"
    )
