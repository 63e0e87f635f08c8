"""Built-in metrics, most of them functions of counts by class. Nothing here imports torch.

May import: errors, contracts.
"""
