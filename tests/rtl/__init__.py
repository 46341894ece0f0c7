"""Systolic arrays in SystemVerilog, written from the design's words alone, and the driver that runs
them in Icarus Verilog.
"""
