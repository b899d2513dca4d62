"""Instance-centric multi-modal pretraining for e-commerce (ECLIP, CVPR 2023)."""

from eclip_mm.utils.env_check import check_environment

__version__ = '0.2.0'
__all__ = ['Eclip', '__version__']

# Before anything else imports torch or mmengine and fails with less to say.
check_environment()


def __getattr__(name: str):
    if name == 'Eclip':  # here, since it imports torch and transformers
        from eclip_mm.apis.eclip import Eclip

        return Eclip
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
