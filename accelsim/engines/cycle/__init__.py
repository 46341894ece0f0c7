"""The cycle engine: a clocked PE array of register planes, real values in, real outputs out, counts
and cycles as they fall.
"""

from accelsim.engines.cycle.clocking import run
from accelsim.engines.cycle.levels import HazardError
from accelsim.engines.cycle.trace import Trace

__all__ = ["HazardError", "Trace", "run"]
