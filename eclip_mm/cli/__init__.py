"""The command ``eclip-mm``."""

from eclip_mm.cli.commands import main

__all__ = ['main']
