"""Where films come from: files, cameras, the net; what FFmpeg calls them and which options they need. No TensorFlow.

Of `fer_tf.films`.
"""

from __future__ import annotations

import importlib
import os
import re
import stat
import sys
from typing import Any

KINDS = "avi,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpeg,mpegvideo,mpegts,asf,m4v,h264,flv,live_flv,ogg,gif,apng"
"""FFmpeg's names of the containers that are opened: no playlists, which lead to other files, no pictures or text."""
CAMERAS = {"linux": ("video4linux2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("dshow", "video={}")}
"""Of each system, FFmpeg's name of its cameras and of the one with a number; Windows has names in place of numbers."""
CAMERA_OPTIONS = {"darwin": {"framerate": "30"}}
"""FFmpeg's options for cameras; a Mac's refuse its default of 29.97 frames a second."""
NET = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "rtp", "srt")
"""Protocols of films that come over the net."""
PATIENCE = 15.0
"""Seconds without an answer after which a camera or the net has failed."""
NET_OPTIONS = {"rtsp_transport": "tcp"}
"""FFmpeg's options for the net; UDP would lose packets."""


def shown(path: str | os.PathLike[str]) -> str:
    """The name of a film as messages have it: an address loses its password."""
    name = os.fspath(path)
    return re.sub(r"//[^/@]*@", "//", name) if "://" in name else name


def is_live(path: str | os.PathLike[str]) -> bool:
    """Whether a film's name is that of a camera ("0", "/dev/video0") or an address, and no file's."""
    name = os.fspath(path)
    if os.path.exists(name):
        return stat.S_ISCHR(os.stat(name).st_mode)
    return name.isdecimal() or name.partition("://")[0].lower() in NET and "://" in name


def place(source: str) -> tuple[str, dict[str, Any]]:
    """FFmpeg's name of a film, and the keyword arguments that `av.open` needs for it.

    Args:
      source: path of a file, which becomes absolute, since "a:b.avi" would be read as a protocol; a camera; an address.
    Raises:
      ValueError: there are fewer cameras (Windows).
    """
    if not is_live(source):
        return os.path.abspath(source), {"container_options": {"protocol_whitelist": "file", "format_whitelist": KINDS}}
    if "://" in source:
        options = dict(NET_OPTIONS) if source.lower().startswith("rtsp") else {}
        return source, {"timeout": PATIENCE, "container_options": options}
    kind, pattern = CAMERAS.get(sys.platform, CAMERAS["linux"])
    options = dict(CAMERA_OPTIONS.get(sys.platform, {}))
    name = pattern.format(_camera(kind, int(source))) if source.isdecimal() else source
    return name, {"timeout": PATIENCE, "container_options": options, "format": kind}


def _camera(kind: str, number: int) -> int | str:
    """What FFmpeg calls the camera with a number."""
    if kind != "dshow":
        return number
    listed = importlib.import_module("av.device").enumerate_input_devices(kind)
    names = [device.name for device in listed if "video" in device.media_types]
    if number >= len(names):
        raise ValueError(f"there are {len(names)} cameras, from 0")
    return names[number]
