"""crossalign.align"""
