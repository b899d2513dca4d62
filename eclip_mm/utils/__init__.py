"""What the rest of the package is built on: processes, files, seeds and checks.

``eclip_mm/__init__`` imports this package before it checks the dependencies, so
this file must not import torch or mmengine.
"""
