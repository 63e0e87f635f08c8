"""Built-in metrics, most of them functions of counts by class. Torch is not imported.

May import: errors, contracts.
"""
