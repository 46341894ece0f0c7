"""The event engine: real tiles carried through DRAM, buffers, networks and array, word by word.

    movement   which words cross which boundary, in order; knows no value        (movement, pes,
    takes) machine    carries them out on arrays of each buffer's capacity              (machine,
    storage) timed      the same events again, SimPy keeping the time; imported by itself (timed/)

Two ways of running it give the same counts and the same words: ``run`` carries the events out in
order and waits for nothing, ``accelsim.engines.event.timed.run`` also says when each could happen.
"""

from accelsim.engines.event.folds import array_cycles
from accelsim.engines.event.machine import run, stores_padding

__all__ = ["array_cycles", "run", "stores_padding"]
