"""Small data sets of files in their official layouts, by real encoders, that can be learnt in seconds."""

from .files import write_image, write_skeleton, write_video
from .ntu import write_ntu
from .ucf import write_ucf

__all__ = ["write_image", "write_ntu", "write_skeleton", "write_ucf", "write_video"]
