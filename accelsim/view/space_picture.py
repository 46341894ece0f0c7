"""The space of a layer's mappings as a cloud of energy against cycles, with its front, the chosen
point and the fixed rule's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelsim.view.style import CHOSEN, CLOUD, FRONT, RULE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from accelsim.explore.cloud import Cloud


def space(
    cloud: Cloud, chosen: tuple[float, float] | None = None, title: str | None = None
) -> Figure:
    """A figure of a cloud; ``chosen`` is (cycles, energy).  Both axes are logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(
        cloud.points[:, 0],
        cloud.points[:, 1],
        s=3,
        color=CLOUD,
        linewidths=0,
        rasterized=True,
        label=f"{len(cloud.points)} of the space{'' if cloud.exact else ', cycles at least'}",
    )
    if len(cloud.front):
        axes.plot(
            cloud.front[:, 0],
            cloud.front[:, 1],
            drawstyle="steps-post",
            color=FRONT,
            marker="o",
            markersize=4,
            label="front",
        )
    if cloud.rule is not None:
        axes.plot(*cloud.rule, marker="s", color=RULE, linestyle="none", label="fixed rule")
    if chosen is not None:
        axes.plot(
            *chosen, marker="*", markersize=13, color=CHOSEN, linestyle="none", label="chosen"
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("cycles")
    axes.set_ylabel(f"energy ({'MACs' if cloud.unit == 'mac' else 'pJ'})")
    axes.set_title(title or cloud.title, fontsize=10)
    axes.grid(True, which="major", linewidth=0.4, alpha=0.5)
    axes.legend(fontsize=8, frameon=False)
    return figure
