"""Writers of small data sets for tests: files by real encoders, scenes that are learnt in seconds."""

from .files import RATE, write_image, write_video
from .scenes import MOTIONS, clip, moving, noisy, painted, tone

__all__ = ["MOTIONS", "RATE", "clip", "moving", "noisy", "painted", "tone", "write_image", "write_video"]
