"""A film as a JSON head and one compressed block: what stands still or moves on by one PE costs
next to nothing.

Each array is written as the difference from what is expected (the value before in the same place,
or in the place it moved from), as whole numbers 2d (d >= 0) or -2d - 1, lowest bytes of all of them
first, then the next bytes.  The block is all arrays one after another under zlib, in base64.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np

from accelsim.view.player.film import Film, Ints, Presence

FORMAT = 3


class Packer:
    """Collects arrays; ``add`` gives what the head says of each."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, values: Any) -> dict[str, Any]:
        """Take an array of whole numbers whose first axis is the frame."""
        values = np.asarray(values, np.int64)
        low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
        best, residual = min(
            ((way, _residual(values, way)) for way in _ways(values)),
            key=lambda x: int(np.count_nonzero(x[1])),
        )
        folded = np.where(residual >= 0, 2 * residual, -2 * residual - 1).ravel().astype(np.uint64)
        width = max(1, (int(folded.max(initial=0)).bit_length() + 7) // 8)
        if max(abs(low), abs(high)) >= 2**52:
            raise ValueError("a value is beyond 2^52 and cannot be shown exactly")
        data = b"".join(
            ((folded >> np.uint64(8 * k)) & np.uint64(255)).astype(np.uint8).tobytes()
            for k in range(width)
        )
        head = {
            "at": self.size,
            "bytes": width,
            "shape": list(values.shape),
            "way": best,
            "wide": not -(2**31) <= low <= high < 2**31,
        }
        self.parts.append(data)
        self.size += len(data)
        return head

    def block(self) -> str:
        """Everything added, compressed, in base64."""
        return base64.b64encode(zlib.compress(b"".join(self.parts), 9)).decode()


def _ways(values: Ints) -> tuple[str, ...]:
    return ("before", "right", "down") if values.ndim == 3 else ("before",)


def _residual(values: Ints, way: str) -> Ints:
    """Values less what is expected: the value before, or that before at the left, or above."""
    expected = np.zeros_like(values)
    expected[1:] = values[:-1]
    if way == "right":
        expected[1:, :, 1:] = values[:-1, :, :-1]
    elif way == "down":
        expected[1:, 1:] = values[:-1, :-1]
    return values - expected


def pack(films: tuple[Film, ...]) -> tuple[str, str]:
    """The head as JSON text that may stand inside a script element, and the block."""
    packer = Packer()
    nodes = [
        {"name": name, "kind": kind, "films": [k for k, f in enumerate(films) if f.node == name]}
        for name, kind in dict.fromkeys((f.node, f.kind) for f in films)
    ]
    head = json.dumps(
        {"format": FORMAT, "nodes": nodes, "films": [_film(f, packer) for f in films]},
        separators=(",", ":"),
    )
    return head.replace("<", "\\u003c"), packer.block()


def _presence(there: Presence, packer: Packer) -> dict[str, Any]:
    return {"starts": packer.add(there.starts), "words": packer.add(there.words)}


def _film(film: Film, packer: Packer) -> dict[str, Any]:
    places = film.positions
    return {
        "title": film.title,
        "node": film.node,
        "kind": film.kind,
        "rows": film.rows,
        "cols": film.cols,
        "first": film.first,
        "cycles": film.cycles,
        "frames": film.frames,
        "planes": [
            {
                "label": p.label,
                "tensor": p.tensor,
                "way": p.way,
                "enters": p.enters,
                "leaves": p.leaves,
                "values": packer.add(p.values),
                "words": packer.add(p.words),
            }
            for p in film.planes
        ],
        "state": packer.add(film.state),
        "nest": [{"text": line.text, "loop": line.loop} for line in film.nest],
        "loops": list(places.loops),
        "trips": list(places.trips),
        "fold": packer.add(places.fold),
        "step": packer.add(places.step),
        "outside": packer.add(places.outside),
        "inside": packer.add(places.inside),
        "row": packer.add(places.row),
        "col": packer.add(places.col),
        "held": [
            {
                "level": h.level,
                "tensor": h.tensor,
                "tile_words": h.tile_words,
                "tile_bytes": h.tile_bytes,
                "capacity_bytes": h.capacity_bytes,
                "words": packer.add(h.words),
                "low": packer.add(h.low),
                "high": packer.add(h.high),
                "there": None if h.there is None else _presence(h.there, packer),
            }
            for h in film.held
        ],
        "kept": [
            {"level": k.level, "tensor": k.tensor, "there": _presence(k.there, packer)}
            for k in film.kept
        ],
        "buses": {
            key: packer.add(getattr(film.buses, key))
            for key in ("starts", "inward", "tensor", "word", "pes")
        },
        "chapters": [{"frame": c.frame, "name": c.name, "told": c.told} for c in film.chapters],
        "opens": film.opens,
        "lag": film.lag,
        "counts": {name: packer.add(values) for name, values in film.counts.items()},
        "totals": film.totals,
        "shapes": {t: list(shape) for t, shape in film.shapes.items()},
        "origins": {t: list(origin) for t, origin in film.origins.items()},
        "extents": {t: list(extent) for t, extent in film.extents.items()},
    }
