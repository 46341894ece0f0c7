"""The cycle engine: a clocked PE array of registers, real values in, real outputs out, counts and
cycles as they fall.  It knows no formula of section 5: a cycle is an edge that was clocked.

What happens in a run.  The levels outside the PEs are walked step by step (``levels``), each step
becomes the words of a fold (``lines``) or of a plain step (``planning``), and the array is clocked
until it can take the next one.  The clock itself is compiled loops over plain arrays; each clocks
any number of edges.  At an edge every register takes what it and its neighbour had before it:

    on systolic lines (``line_pes``)
      1. the ports show the next words
      2. held outputs on their way out go one row down, and leave below the last
      3. moving operands go one column right, falling ones or sums one row down; a PE that has what
         it needs multiplies and adds
      4. counts: words that entered, MACs that worked, sums that were made
      5. held operands that are still shifting in go one row down
      6. results that are complete are latched: read in place, or at the bottom

    on buses (``buses``)
      1. words that a PE needs for the first time come over the bus and are latched by all takers
      2. every MAC takes its operands, from its PE or from the bus; the products enter the pipeline
      3. the product that is through the pipeline is added, in the PE or in the network
      4. sums a PE lets go set out; on chains all sums under way go one link further (``chain``)
      5. sums that are out are latched outside, step by step in order

What goes wrong is never silent: registers of lines carry tags, words of PEs and chains their names,
and two that do not belong together raise HazardError.

    addresses, levels     which word is where, and what the levels outside hold
    lines, planning       what a fold or a step asks of the array
    controller            when a fold may start: register reservations
    line_pes, systolic    the array of lines: its PEs; how folds go through it
    bus_pes, chain, buses the array of buses: its PEs; their links; its clock
    sampling              one step of each kind on buses, multiplied
    trace, recording      what every PE held, to be looked at
    clocking              the runs themselves, and folds on lines: read first
"""

from accelsim.engines.cycle.clocking import run
from accelsim.engines.cycle.levels import HazardError
from accelsim.engines.cycle.trace import Trace

__all__ = ["HazardError", "Trace", "run"]
