"""Configs and start-up checks.

Imported by ``eclip_mm/__init__`` before its dependencies are checked: nothing
here may import torch or mmengine at the top.
"""
