"""Instance-centric multi-modal pretraining for e-commerce (ECLIP, CVPR 2023)."""

__version__ = '0.1.0'
__all__ = ['__version__']
