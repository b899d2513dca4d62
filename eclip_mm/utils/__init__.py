"""The ground that the rest of the package stands on: processes, files, seeds, checks.

Imported by ``eclip_mm/__init__`` before its dependencies are checked: nothing
here may import torch or mmengine at the top.
"""
