"""Results by the column: how a group of records travels from a worker, lies in memory and becomes a
frame.

A record is a dictionary; records with the same keys in the same order (a layout) make one
``ColumnBlock`` of arrays.  A ``Table`` is the whole: every column over every point, whatever blocks
it came from.  Workers pack blocks, ``Gathered`` puts them together, ``Store`` keeps them and
``output`` writes tables.

Why not pandas' nullable types: workers would import pandas for them (54 MB and about 1 s each, 51
MB and 1.9 s without), a record that is evaluated by itself would be packed in 1.1 ms and not 0.17
(72 columns), and ``rows`` would take 2.9 s and not 1.5 (80 000 rows).  Packing many records takes
the same time, gathering 80 000 rows 0.10 s and not 0.26, which a sweep that evaluated them does not
notice.  A user's frame has NumPy's plain types, but for whole numbers of which some are missing:
these are ``Int64``, since floats would round them beyond 2^53.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import InputError
from accelsim.base.limits import MAX_COUNT, MAX_NUMBER

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["none", "bool", "int", "float", "text"]
KINDS: tuple[Kind, ...] = ("none", "bool", "int", "float", "text")
Record = dict[str, Any]
Ids = npt.NDArray[np.int64]
_DTYPES: dict[str, Any] = {
    "none": np.float64,
    "bool": np.bool_,
    "int": np.int64,
    "float": np.float64,
    "text": object,
}
_EMPTY: dict[str, Any] = {"none": np.nan, "bool": False, "int": 0, "float": np.nan, "text": None}


@dataclass(frozen=True)
class Column:
    """Values of one kind, [rows]; ``there`` [rows] says which exist (None: all of them).  ``none``
    is a column without any value.
    """

    kind: Kind
    values: npt.NDArray[Any]
    there: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: Any) -> Column:
        """The column at these places, or where a mask is true."""
        there = None if self.there is None else self.there[index]
        return Column(
            self.kind, self.values[index], None if there is None or there.all() else there
        )

    def plain(self) -> list[Any]:
        """Python values, None where there is none."""
        if self.kind == "none":
            return [None] * len(self)
        values: list[Any] = self.values.tolist()
        if self.there is None:
            return values
        return [v if t else None for v, t in zip(values, self.there.tolist(), strict=True)]

    def series(self) -> Any:
        """[rows] As a DataFrame has it: whole numbers of which some are missing as ``Int64``, other
        missing values are None among objects.
        """
        if self.there is None or self.kind in ("none", "float"):
            return self.values
        if self.kind == "int":
            import pandas as pd

            return pd.arrays.IntegerArray(self.values, ~self.there)
        values = self.values.astype(object)
        values[~self.there] = None
        return values

    def floats(self) -> npt.NDArray[np.float64]:
        """[rows] Numbers, NaN where there is none.  Raises ValueError for text."""
        numbers = np.full(len(self), np.nan)
        if self.kind != "none":
            there = slice(None) if self.there is None else self.there
            numbers[there] = self.values[there].astype(np.float64)
        return numbers


def column(values: Sequence[Any], name: str = "") -> Column:
    """A column of Python or NumPy values; NaN counts as none.  Raises InputError, with the column's
    name, for a whole number beyond 64 bits, and one beyond 2^53 beside a fraction.
    """
    types = set(map(type, values))
    if not types <= {int, float, bool, str, type(None)}:
        values = [_python_value(v) for v in values]
        types = set(map(type, values))
    kinds = types - {type(None)}
    if not kinds:
        return Column("none", np.full(len(values), np.nan))
    kind = _kind(kinds)
    there = None
    if type(None) in types:
        there = np.array([v is not None for v in values], dtype=np.bool_)
        values = [_EMPTY[kind] if v is None else v for v in values]
    if kind == "text" and kinds != {str}:
        values = [v if v is None or isinstance(v, str) else str(v) for v in values]
    if kind == "float" and int in kinds:
        _refuse_inexact(values, MAX_NUMBER, name)
    try:
        array = np.array(values, dtype=_DTYPES[kind])
    except OverflowError:
        _refuse_inexact(values, MAX_COUNT, name)
        raise
    return float_column(array) if kind == "float" else Column(kind, array, there)


def _refuse_inexact(values: Sequence[Any], most: int, name: str) -> None:
    """Raises InputError for the first whole number that a column of this kind would not hold."""
    for row, value in enumerate(values):
        if isinstance(value, int) and abs(value) > most:
            power = "2^63 - 1" if most == MAX_COUNT else "2^53 beside fractions"
            rule = f"a whole number of row {row + 1} must be at most {power}"
            raise InputError(rule, key=name, got=str(value))


def _python_value(value: Any) -> Any:
    """A value of Python's own types: NumPy's as theirs, anything else as text."""
    if hasattr(value, "item"):
        return value.item()
    return value if value is None or isinstance(value, (int, float, bool, str)) else str(value)


def _kind(types: set[type]) -> Kind:
    """The narrowest kind that holds values of these types."""
    if types == {bool}:
        return "bool"
    if types == {int}:
        return "int"
    return "float" if types <= {int, float} else "text"


def float_column(values: npt.NDArray[np.float64]) -> Column:
    """A column of floats, of which NaN is none."""
    missing = np.isnan(values)
    if not missing.any():
        return Column("float", values)
    return Column("none", values) if missing.all() else Column("float", values, ~missing)


@dataclass(frozen=True)
class ColumnBlock:
    """Records of one layout.  ``ids`` are their points' numbers in the plan; status and error are
    their own.
    """

    ids: Ids
    names: tuple[str, ...]
    columns: tuple[Column, ...]
    status: tuple[str, ...]
    error: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self) -> Iterable[tuple[Any, ...]]:
        """Python values row by row, in the order of ``names``."""
        return (
            zip(*(c.plain() for c in self.columns), strict=True)
            if self.columns
            else [()] * len(self)
        )


def pack(ids: Sequence[int] | Ids, records: Sequence[Record]) -> list[ColumnBlock]:
    """Records as blocks, by layout in order of appearance.  Each has ``status`` and may have
    ``error``.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, record in enumerate(records):
        groups.setdefault(tuple(record), []).append(i)
    numbers = np.asarray(ids, dtype=np.int64)
    blocks = []
    for keys, members in groups.items():
        alike = [records[i] for i in members]
        names = tuple(k for k in keys if k not in ("status", "error"))
        columns = tuple(column([r[name] for r in alike], name) for name in names)
        status = tuple(str(r["status"]) for r in alike)
        error = tuple(r.get("error") for r in alike)
        blocks.append(ColumnBlock(numbers[members], names, columns, status, error))
    return blocks


@dataclass
class Gathered:
    """Blocks as they come in, for points numbered from 0 to ``count``."""

    count: int
    blocks: list[ColumnBlock] = field(default_factory=list)

    def add(self, block: ColumnBlock) -> None:
        """Blocks come in any order, each point in one of them."""
        self.blocks.append(block)

    def table(self, order: Ids) -> Table:
        """All columns at the points ``order``, which may name a point more than once or not at all.

        Columns stand as in the records: longest layouts first, then those of the earliest points.
        So the table does not depend on the order the blocks came in.
        """
        first = np.full(self.count, len(order), dtype=np.int64)
        np.minimum.at(first, order, np.arange(len(order), dtype=np.int64))
        layouts: dict[tuple[str, ...], list[ColumnBlock]] = {}
        for block in self.blocks:
            layouts.setdefault(block.names, []).append(block)
        ranked = sorted(
            layouts,
            key=lambda names: (-len(names), min(int(first[b.ids].min()) for b in layouts[names])),
        )
        columns = {name: self._texts(name, order) for name in ("status", "error")}
        for name in dict.fromkeys(name for layout in ranked for name in layout):
            pieces = [
                (b.ids, b.columns[b.names.index(name)])
                for names, blocks in layouts.items()
                if name in names
                for b in blocks
            ]
            columns[name] = _scattered(pieces, self.count, name).take(order)
        return Table(columns, len(order))

    def _texts(self, name: str, order: Ids) -> Column:
        values = np.full(self.count, None, dtype=object)
        for block in self.blocks:
            values[block.ids] = np.array(getattr(block, name), dtype=object)
        return text_column(values[order])


def _of_series(series: Any) -> Column:
    """A column of a DataFrame."""
    kinds: dict[str, Kind] = {"int64": "int", "bool": "bool", "float64": "float"}
    kind = kinds.get(str(series.dtype))
    if kind is None:
        return column(series.astype(object).where(series.notna(), None).tolist(), str(series.name))
    values = series.to_numpy()
    return float_column(values) if kind == "float" else Column(kind, values)


def text_column(values: npt.NDArray[Any]) -> Column:
    """Text, None where there is none, even if there is none at all."""
    there = np.array([v is not None for v in values], dtype=np.bool_)
    return Column("text", values, None if there.all() else there)


def _scattered(pieces: Sequence[tuple[Ids, Column]], count: int, name: str) -> Column:
    """One column over ``count`` points from pieces of it, in the narrowest kind that holds them
    all.
    """
    kind = widest({c.kind for _, c in pieces})
    values = np.full(count, _EMPTY[kind], dtype=_DTYPES[kind])
    there = np.zeros(count, dtype=np.bool_)
    for ids, piece in pieces:
        if piece.kind == "none":
            continue
        if kind == "text" and piece.kind != "text":
            values[ids] = np.array(
                [None if v is None else str(v) for v in piece.plain()], dtype=object
            )
        elif kind == "float":
            if piece.kind == "int":
                _refuse_inexact(piece.values.tolist(), MAX_NUMBER, name)
            values[ids] = piece.floats()
        else:
            values[ids] = piece.values
        there[ids] = True if piece.there is None else piece.there
    return Column(kind, values, None if there.all() else there)


def widest(kinds: Iterable[str]) -> Kind:
    """The narrowest kind that holds values of all these kinds."""
    different = set(kinds) - {"none"}
    for kind in KINDS:
        if different <= {kind}:
            return kind
    return "float" if different <= {"int", "float"} else "text"


@dataclass
class Table:
    """Named columns of one length, in order."""

    columns: dict[str, Column]
    length: int

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Table:
        """The columns of a DataFrame."""
        return cls({str(name): _of_series(frame[name]) for name in frame.columns}, len(frame))

    def __len__(self) -> int:
        return self.length

    def take(self, index: Any) -> Table:
        """Some of the rows, by places or by a mask."""
        columns = {name: c.take(index) for name, c in self.columns.items()}
        return Table(columns, len(np.arange(self.length)[index]))

    def select(self, names: Iterable[str]) -> Table:
        """Some of the columns, in the order asked for."""
        return Table({name: self.columns[name] for name in names}, self.length)

    def with_columns(self, more: Mapping[str, Column], *, first: bool = False) -> Table:
        """With further columns, after the others or before them; one of the same name is
        replaced.
        """
        others = {k: v for k, v in self.columns.items() if k not in more}
        return Table({**more, **others} if first else {**others, **more}, self.length)

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame.  Whole numbers are int64, or ``Int64`` where some are missing; text is None
        there.
        """
        import pandas as pd

        return pd.DataFrame({name: c.series() for name, c in self.columns.items()})

    def rows(self) -> Iterable[tuple[Any, ...]]:
        """Python values row by row; whole numbers stay whole, None where there is no value."""
        return zip(*(c.plain() for c in self.columns.values()), strict=True)
