"""crossalign.training"""
