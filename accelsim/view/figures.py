"""The pictures that a class of a lower room may ask for by name, through ``base.display``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from accelsim.view.explained import explained
from accelsim.view.gantt import gantt, occupancy
from accelsim.view.plots import demo, energy, latency, utilization
from accelsim.view.roofline import roofline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of a result's frame: energy, latency, utilization, and the three in one, overview.  Of the frames
# of a timed run: timeline, occupancy.  Of the result itself: roofline, which needs the machine of
# each row.  Of a layer explained: explain.
FIGURES: Mapping[str, Callable[..., Figure]] = {
    "energy": energy,
    "latency": latency,
    "utilization": utilization,
    "overview": demo,
    "timeline": gantt,
    "occupancy": occupancy,
    "roofline": roofline,
    "explain": explained,
}
