"""Small data sets of files in their official layouts, by real encoders, that can be learnt in seconds."""

from .files import write_image, write_skeleton, write_video

__all__ = ["write_image", "write_skeleton", "write_video"]
