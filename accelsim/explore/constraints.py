"""Which architectures of a space are wanted: expressions over their keys.

Names are the dotted keys of the resolved architecture (``levels.sram.capacity_bytes``), and
``rows``, ``cols``, ``pes`` (rows x cols) and ``area_um2``.  Only what an axis can change is looked
up per point; the architecture is built for a point only if the names ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from accelsim.base.adding import sum_in_order
from accelsim.base.errors import InputError
from accelsim.base.expression import Expression, ExpressionError, parse
from accelsim.explore.machines import Machines
from accelsim.hardware.architecture import Architecture
from accelsim.hardware.energy import prices

ALIASES = {"rows": "array.rows", "cols": "array.cols"}
BUILT = ("area_um2",)


class Constraints:
    """``constraints(overrides)`` says whether all expressions hold.  Raises InputError for what
    cannot be read or worked out.
    """

    def __init__(self, texts: Sequence[str], machines: Machines, keys: Sequence[str]) -> None:
        self.machines, self.keys = machines, set(keys)
        self.expressions = [
            _parsed(text, i) for i, text in enumerate([texts] if isinstance(texts, str) else texts)
        ]
        self.asked = tuple(dict.fromkeys(name for e in self.expressions for name in self._keys(e)))
        known = {*self._base, *keys, *BUILT}
        for i, e in enumerate(self.expressions):
            for name in self._keys(e):
                if name not in known and not any(name.startswith(f"{k}.") for k in keys):
                    raise InputError(
                        "no such key of the architecture",
                        key=f"constraints.{i}",
                        got=name,
                        choices=sorted({*known, *ALIASES, "pes"}),
                    )
        self.built = [name for name in self.asked if name in BUILT or self._changed(name)]

    def __call__(self, overrides: dict[str, Any]) -> bool:
        values = {
            name: overrides[name] if name in overrides else self._base.get(name)
            for name in self.asked
        }
        if self.built:
            machine = self.machines.build(overrides)
            if machine.arch is None:
                return True  # it becomes a row that says why it cannot be built
            values |= self._of(machine.arch)
        values |= {alias: values[key] for alias, key in ALIASES.items() if key in values}
        rows, cols = values.get("rows"), values.get("cols")
        values["pes"] = None if rows is None or cols is None else rows * cols
        for i, e in enumerate(self.expressions):
            try:
                if not e.holds(values):
                    return False
            except ExpressionError as error:
                raise InputError(
                    f"{error} ({', '.join(f'{n}={values.get(n)}' for n in e.names)})",
                    key=f"constraints.{i}",
                ) from None
        return True

    @cached_property
    def _base(self) -> dict[str, Any]:
        return dict(flat(self.machines.base.model_dump(mode="json")))

    def _keys(self, e: Expression) -> Iterator[str]:
        for name in e.names:
            if name == "pes":
                yield from ALIASES.values()
            else:
                yield ALIASES.get(name, name)

    def _changed(self, name: str) -> bool:
        """Whether an axis can change a key without being it: a mapping above it, or the choice of
        an energy table.
        """
        if name in self.keys:
            return False
        return any(
            name.startswith(f"{k}.") or (name.startswith("energy.") and k.startswith("energy"))
            for k in self.keys
        )

    def _of(self, arch: Architecture) -> dict[str, Any]:
        """What only the built architecture tells, of what is asked for."""
        whole = dict(flat(arch.model_dump(mode="json"))) if self.built != list(BUILT) else {}
        values = {name: whole.get(name) for name in self.built}
        if "area_um2" in values:
            area = prices(arch).area_um2
            if not area:
                rule = f"area_um2 is not known under energy table {arch.energy.table}"
                raise InputError(rule, key="constraints")
            values["area_um2"] = sum_in_order(area.values())
        return values


def flat(data: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of everything in nested mappings, and its value."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from flat(value, f"{above}.{key}" if above else str(key))
    else:
        yield above, data


def _parsed(text: str, index: int) -> Expression:
    try:
        return parse(text)
    except ExpressionError as error:
        raise InputError(str(error), key=f"constraints.{index}") from None
