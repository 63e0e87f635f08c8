"""Readers of video, images, sound, flow, depth and skeletons, for plugins that bring data sets of files.

They are public as `pm.media.<name>`. Frames are uint8 (H, W, C), red first. A file that cannot be read is a
DataError that names it and the reason. The packages that decode are optional and imported on first use:
`pmbench[video]`, `pmbench[audio]`, `pmbench[flow]`.

May import: errors, contracts.
"""

from .depth import depth_frames
from .flow import tvl1
from .images import image_files, image_frames
from .skeleton import Alignment, Skeletons, alignment, skeletons
from .sound import log_mel, sound
from .video import Box, Size, frame_rate, has_audio, video_frames

__all__ = [
    "Alignment",
    "Box",
    "Size",
    "Skeletons",
    "alignment",
    "depth_frames",
    "frame_rate",
    "has_audio",
    "image_files",
    "image_frames",
    "log_mel",
    "skeletons",
    "sound",
    "tvl1",
    "video_frames",
]
