"""crossalign.evaluation"""
