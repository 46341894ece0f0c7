"""What is to be computed: layers as boxes of loops, networks as graphs, words and their rounding.

Nothing here knows of hardware.  ``problem`` is what every other room reads; ``network`` is the
door for who brings a file or a layer.
"""
