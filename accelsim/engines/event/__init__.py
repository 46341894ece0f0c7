"""The event engine: real tiles carried through DRAM, buffers, networks and array, word by word.

The life of a pass.  A *pass* is everything that happens while all levels outside the innermost two
stand still: the steps of the level next to the array, its PEs in lockstep.  Between two passes, in
the order in which ``movement`` tells it:

1. ``PeDrain``   sums that some PE lets go before the buffers move on (``pes``)
2. ``Drain``     tiles of sums that are done leave the buffers, the innermost level first
3. ``Fill``      operand tiles let go what they no longer need and take in what they have not,
                 tensor by tensor, the outermost level first
   ``Open``      new tiles of sums start at zero, in their tensor's turn
4. ``Pass``      PEs load what they keep, the MACs work, PEs let sums go on the way

and after the last pass the PEs' sums, then the buffers' tiles of sums, innermost first.  What an
event carries is index sets, so nothing above knows a value.  Who makes and who reads the events:

    movement   tells them, from the nest's loops alone
    pes        what instances of a level take and let go      (ranks, lockstep, takes, held)
    machine    carries them out, on levels that hold words    (storage, multiply)
    timed      the same events again, SimPy keeping the time; imported by itself
    folds      the array's own time, from the steps of the passes

Two ways of running it give the same counts and the same words: ``run`` carries the events out in
order and waits for nothing, ``accelsim.engines.event.timed.run`` also says when each could happen.
"""

from accelsim.engines.event.folds import array_cycles
from accelsim.engines.event.machine import run, stores_padding

__all__ = ["array_cycles", "run", "stores_padding"]
