"""The analytic engine: counts, cycles and stalls of a nest in closed form; no word is moved.

    rank_sums     what one rank of a tensor adds up to, over steps and instances, by classes of
                  equal pieces: compiled loops
    one_chain     the same of one chain with its tiles, for examples by hand
    closed_form   words over every boundary: signed products of those sums       (section 4)
    fold_time     a systolic array's folds, over loops instead of one by one      (section 5)
    held_words    where an ifmap that PEs hold slides back onto the same words
    array_time    the array's time, memory never waited for
    settings      the same words before they are summed, step by step
    pass_clock    when all of that happens at given widths: compiled loops        (docs/time.md)
    pipeline      the door: array and memory together, for one machine or many

and beside the nest, for what no array multiplies and no boundary counts:

    vector_unit   cycles and words of the vector unit
    link_coding   bits of a run-length coded map on the outermost link, from its values

``run`` says all of one layer.  ``moves`` and ``time`` are its two halves, for those who need one;
``ClosedForm`` is the first half for many mappings of one skeleton at a time.
"""

from accelsim.engines.analytic.closed_form import ClosedForm, moves
from accelsim.engines.analytic.pipeline import Time, run, time

__all__ = ["ClosedForm", "Time", "moves", "run", "time"]
