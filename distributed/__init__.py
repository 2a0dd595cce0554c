"""More than one machine, on DGL's own engine (`dgl.distributed`): partitions, servers, remote rows.

Backbones and alignments do not know of it: they are given rows by id.
"""
