"""crossalign.graphs"""
