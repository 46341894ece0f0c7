"""The golden answer: NumPy, knowing no mapping.  Every engine's words must be these, to the bit.

    golden_layer     one layer, twice: eight plain loops, and fast exact matrix products
    golden_network   a whole network in words, its layers by any engine
    training         a training step in words

A layer's functions are here by name; the network and the training step bring the graph with them
and are imported where they are needed.
"""

from accelsim.engines.golden.golden_layer import accumulate, loops, run

__all__ = ["accumulate", "loops", "run"]
