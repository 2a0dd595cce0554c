"""crossalign.models"""
