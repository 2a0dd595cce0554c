"""crossalign.datasets"""
