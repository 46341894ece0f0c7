"""From a store to a frame or a table: ``acc.read_store`` and ``accelsim results``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import InputError
from accelsim.base.expression import Expression, ExpressionError, parse
from accelsim.base.validation import checked
from accelsim.explore.columns import Table
from accelsim.explore.row_names import axes
from accelsim.explore.store import Store
from accelsim.explore.totals import totals

if TYPE_CHECKING:
    import pandas as pd


@checked
def read_store(
    store: str | os.PathLike[str],
    where: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    study: str | None = None,
    total: bool = False,
) -> pd.DataFrame:
    """The finished rows of a store, those for which the expression ``where`` holds, those of one
    study if named.

    ``columns`` chooses columns; ``total`` sums over the layers of each network, and ``where`` is
    then about the sums. Raises StoreError and InputError.
    """
    with Store(store, create=False) as opened:
        return read_table(opened, where, columns, study=study, total=total).to_frame()


def read_table(
    store: Store,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    study: str | None = None,
    total: bool = False,
) -> Table:
    """The same from an open store, as a table."""
    condition = expression(where, "where") if where is not None else None
    if not total:
        return store.table(columns, condition, study)
    whole = store.table(None, None, study)
    sums = totals(whole, axes(whole.columns))
    for key, asked in (("columns", columns or ()), ("where", condition.names if condition else ())):
        for name in asked:
            if name not in sums.columns:
                rule = "totals have no such column"
                raise InputError(rule, key=key, got=name, choices=sums.columns)
    if condition is not None:
        sums = sums.take(_holds(sums, condition))
    return sums.select(columns) if columns is not None else sums


def _holds(table: Table, condition: Expression) -> npt.NDArray[np.bool_]:
    """[rows] Whether the condition holds.  Raises InputError where it cannot be worked out."""
    names = condition.names
    try:
        return np.array(
            [
                condition.holds(dict(zip(names, row, strict=True)))
                for row in table.select(names).rows()
            ],
            dtype=np.bool_,
        )
    except ExpressionError as error:
        raise InputError(str(error), key="where", got=condition.text) from None


def expression(text: str, key: str) -> Expression:
    """An expression from a command line or a call.  Raises InputError."""
    try:
        return parse(text)
    except ExpressionError as error:
        raise InputError(str(error), key=key) from None
