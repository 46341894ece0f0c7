"""What a network does besides convolving, and convolving as a node of a graph: golden models in
NumPy, one module a family.
"""
