"""The teacher's key to lab 3: the variant of the lab's text, and how to come to each answer, with
the ``numbers`` of a variant filled in.
"""

from typing import Any

answers = {
    "3.1": [2, 1],
    "3.2": 7,
    "3.3": 12,
    "3.4": 9,
    "3.5": 18,
    "3.6": 45,
    "3.7": [12, "os"],
    "3.8": "lab3_turned.yaml",
    "3.9": [12, "down", "right"],
    "3.11": [[0, 1, 2], [1, 2, 3], [2, 3, 4]],
    "3.12": [3, 6, 4],
    "3.13": [72, 48],
}

working = {
    "3.1": "Columns are filters and rows are inputs: PE (1, 2) has filter 2, input 1.",
    "3.2": "Weights at edges 1 to 3, PE (0, 0) multiplies at 4, PE (1, 2) 1 + 2 edges later.",
    "3.3": "Preload 3, then T = {n} pixels, then the skew 3 + 3 - 2 = 4.",
    "3.4": "{folds} folds of T = 3, then the skew of the last: {last} + 3 - 2 = {skew}.",
    "3.5": "{folds} folds of 9 weights each.",
    "3.6": "Once a MAC: 3 x 3 x {n}.",
    "3.7": (
        "Preload 3, {folds} folds of T = 3, then the skew of the last, 3 + {last} - 2 = {skew}: "
        "as many as ws, whatever the pixels. os: {os} cycles against {ws} (ws) and {is} (is) for "
        "the same {macs} MACs."
    ),
    "3.8": (
        "In key/lab3_turned.yaml space is [K:col, M:row] and sizes begin with M:row, K:col; all "
        "else is ws."
    ),
    "3.9": (
        "As many as ws, its mirror image. K lies over the columns, so a column shares its ifmap "
        "words, which go down; a row's products are one filter's, so sums go right."
    ),
    "3.11": "Ofmap row e under filter row r lies on ifmap row e + r.",
    "3.12": "{r} filter rows, {r} + {e} - 1 ifmap rows, {e} ofmap rows.",
    "3.13": (
        "(a) {read} x {pes} PEs. (b) {read} x {rows} rows from the buffer, and {step} for each of "
        "the {others} other PEs."
    ),
}


def numbers(variant: int) -> dict[str, Any]:
    """What the working of a variant is told with."""
    from lab3_dataflows import BUFFER, NEIGHBOUR, PIXELS, ROWS
    from trials import on_three

    n, (r, e) = PIXELS[variant], ROWS[variant]
    last = (n - 1) % 3 + 1
    cycles = {flow: on_three(flow, n)["cycles"] for flow in ("ws", "os", "is")}
    folds = {"n": n, "folds": -(-n // 3), "last": last, "skew": last + 1, "macs": 9 * n}
    pes, rows = r * e, r + e - 1
    grid = {"r": r, "e": e, "pes": pes, "rows": rows, "others": pes - rows}
    return folds | cycles | grid | {"read": BUFFER, "step": NEIGHBOUR}
