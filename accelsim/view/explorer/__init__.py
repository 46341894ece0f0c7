"""The explorer: a page on this machine where layer, array, buffers and dataflow are controls and
every view follows.

``ask`` is what a request may say, ``views`` answers it with everything the page shows, ``share``
says how to have the same in Python and on the command line, ``guard`` keeps strangers out, ``app``
puts routes together, ``serve`` runs it.
"""
