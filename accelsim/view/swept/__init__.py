"""Figures of a sweep, one file each: the data of a figure first, then the figure.

``view.sweeps`` is the door.  ``sweep_frame`` checks and names what all of them are given,
``units`` scales values for an axis, ``canvas`` has what the figures look alike in.
"""
