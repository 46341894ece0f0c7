"""The engines: each carries out, or works out, one nest, and says what moved and how long it took.

    analytic   counts, cycles and stalls in closed form; nothing moves
    event      real tiles through levels of stated capacity; timed, SimPy keeps the clock
    cycle      every register of the array, every edge, real values
    golden     the right answer, from the problem alone

They see nothing of each other, so that where two agree the number has been found twice.  What they
share says nothing about a mapping's numbers: ``moved`` (what crossed a boundary, and from there to
columns and energy), ``run`` (the outcome), ``timeline`` (tables of who was busy when).  A new
engine is a package beside these whose ``run(nest, data)`` returns a ``Run``; ``results`` then
compares it with the others field by field.
"""
