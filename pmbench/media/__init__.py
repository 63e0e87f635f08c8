"""Readers of video, images, sound, optical flow and depth, for data set plugins.

They are public as `pm.media.<name>`. Frames are uint8 (H, W, C) in RGB order; `pixels` keeps other numbers.
A file that cannot be read raises a DataError with its path and the reason. Decoders are optional packages,
imported on first use: `pmbench[video]`, `pmbench[audio]`, `pmbench[flow]`, `pmbench[tiff]`.

May import: errors, contracts.
"""

from .depth import depth_frames
from .flow import tvl1
from .images import image, image_files, image_frames
from .pixels import TIFFS, nearest, pixels, scaled
from .probe import duration, frame_count, image_size, log_mel_shape, tells_length, video_size
from .sound import log_mel, sound
from .video import Box, Size, frame_rate, has_audio, video_frames

__all__ = [
    "TIFFS",
    "Box",
    "Size",
    "depth_frames",
    "duration",
    "frame_count",
    "frame_rate",
    "has_audio",
    "image",
    "image_files",
    "image_frames",
    "image_size",
    "log_mel",
    "log_mel_shape",
    "nearest",
    "pixels",
    "scaled",
    "sound",
    "tells_length",
    "tvl1",
    "video_frames",
    "video_size",
]
