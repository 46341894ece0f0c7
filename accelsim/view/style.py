"""How every picture looks: colours, hatches, fonts, and matplotlib's settings while one is drawn.

Colours are Okabe and Ito's (M. Okabe, K. Ito, "Color Universal Design", 2008), which eyes of every
kind tell apart.  A role (compute, DRAM, weight, ...) has one colour in all pictures, and where
areas touch, a hatching of its own, so that a grey print can be read too.  What has no role
(dataflows, networks) takes ``SERIES`` in order of appearance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW, BLACK = "#E69F00", "#56B4E9", "#F0E442", "#000000"

SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = "osD^vPX"  # one a colour of SERIES
FAMILIES = (*SERIES[:-1], "#555555", "#882255", "#44AA99", "#999933")  # where there are many

# Of a search's picture, where one front is looked at and nothing has a role.
CLOUD, FRONT, RULE, CHOSEN = "#9aa5b1", "#1f4e79", "#c55a11", "#a61c3c"

INK = "#333333"  # small print upon a picture
GREY = "#555555"  # what is beside the matter: roofs, units, notes
GRID = "#D9D9D9"
PALE = "#E4E4E4"  # a grid among small or many marks

OTHER = "other"
TENSORS = ("weight", "ifmap", "ofmap")

WIDTH = 7.2  # inches, of a page's text
COLUMN = 3.4  # inches, of one of two columns
DPI, FINE = 150, 300  # dots an inch of a PNG: of a page's width, of a column's
TITLE, LABEL, TEXT, SMALL = 9.0, 8.0, 7.0, 6.5  # font sizes in points


@dataclass(frozen=True)
class Look:
    """How an area of one role is filled.

    ``hatches`` are those of the first component of the role in a picture and of any further one,
    which is also lighter; ``ink`` is the colour of the hatching.
    """

    colour: str
    ink: str
    hatches: tuple[str, str]


LOOKS: Mapping[str, Look] = {
    "compute": Look(GREEN, "white", ("", "o")),
    "vector": Look("#444444", "#DDDDDD", ("", "..")),
    "pe": Look(SKY, "#173a52", ("...", "oo")),
    "network": Look(VERMILION, "#4a1f00", ("xx", "++")),
    "buffer": Look(ORANGE, "#4d3500", ("//", "\\\\\\")),
    "dram": Look(BLUE, "#9CCBEA", ("\\\\", "||")),
    "fill": Look(YELLOW, "#8a8230", ("--", "||")),
    "stall": Look(PURPLE, "#3d1f30", ("++", "xx")),
    "weight": Look(VERMILION, "white", ("//", "")),
    "ifmap": Look(SKY, "#173a52", ("..", "")),
    "ofmap": Look(YELLOW, "#8a8230", ("xx", "")),
    OTHER: Look("#BBBBBB", "#555555", ("", "..")),
}

# Names that levels and networks usually have, by role.
_USUAL = {
    "compute": r"compute|macs?|alu",
    "vector": r"vector.*",
    "network": r"(noc|link|links|bus|lines|net|network|mesh|interconnect)(_.*)?",
    "pe": r"(spad|reg|rf|register|pe|scratchpad|latch).*",
    "dram": r"(dram|hbm|ddr|lpddr|off_?chip|main_?memory).*",
    "buffer": r"(glb|sram|ub|acc|gbuf|buf|.*buffer|l[123]$|.?buf).*",
    OTHER: r"static|leakage|idle|other",
}


def usual_role(name: str) -> str:
    """The role of a level or network by the name it has; empty where none is usual."""
    roles = (role for role, names in _USUAL.items() if re.fullmatch(names, name.lower()))
    return next(roles, "")


_PRINTED = {"dram": "DRAM", "glb": "GLB", "sram": "SRAM", "noc": "NoC", "ub": "UB"}


def printed(name: str) -> str:
    """A level, network or resource as a picture names it: ``noc.ofmap.up`` is NoC ofmap up."""
    first, *rest = name.split(".")
    return " ".join([_PRINTED.get(first, first), *rest])


def lighter(colour: str, share: float) -> str:
    """A colour ``#RRGGBB`` that much of the way to white."""
    channels = bytes.fromhex(colour[1:])
    return "#" + "".join(f"{round(v + (255 - v) * share):02X}" for v in channels)


def series_look(place: int) -> dict[str, Any]:
    """Colour and marker of the series at a place, for ``plot`` and ``scatter``; where colours come
    again they have other markers.
    """
    again = place // len(SERIES)
    return {"color": SERIES[place % len(SERIES)], "marker": MARKERS[(place + again) % len(MARKERS)]}


# What a user's own matplotlibrc may not change while a picture of ours is drawn.
_SET_BY_US = re.compile(
    "(axes|figure|font|grid|hatch|legend|lines|mathtext|patch|path|savefig|svg|text"
    "|[xy]axis|[xy]tick)[.]"
)


_drawing = RLock()  # matplotlib's settings are the whole process's


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's own defaults while drawing and saving, whatever the user's are; one thread at a
    time draws, and the user's are there again when it is done.

    The salt makes the ids in an SVG the same every time, so the same figure gives the same bytes.
    """
    import matplotlib

    defaults: Any = {k: v for k, v in matplotlib.rcParamsDefault.items() if _SET_BY_US.match(k)}
    ours = {
        "font.sans-serif": ["DejaVu Sans"],
        "svg.hashsalt": "accelsim",
        "svg.fonttype": "path",
        "hatch.linewidth": 0.35,
    }
    with _drawing, matplotlib.rc_context(defaults | ours):
        yield


@contextmanager
def sweep_style() -> Iterator[None]:
    """The house's style with text as small as the bars have it: readable in one column."""
    import matplotlib

    sizes: Any = {
        "font.size": 7.5,
        "axes.labelsize": LABEL,
        "axes.linewidth": 0.6,
        "xtick.labelsize": TEXT,
        "ytick.labelsize": TEXT,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
    }
    with house_style(), matplotlib.rc_context(sizes):
        yield
