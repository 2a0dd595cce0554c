"""Plain formulations of what the package computes, as common research code writes it.

Sparse COO products and whole matrices under autograd, feature tables trained and projected in
full, a row for every pair of a batch, Python loops where the published codes have them. Nothing is
imported from the package. Parameters have the names that ours have, so states can be exchanged:
the tests do, and find equal losses and gradients.
"""
