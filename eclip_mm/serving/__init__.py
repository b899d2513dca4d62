"""A trained model and an index as a service over HTTP."""

from eclip_mm.serving.app import build_app
from eclip_mm.serving.batching import MicroBatcher
from eclip_mm.serving.limits import Limits
from eclip_mm.serving.service import Service

__all__ = ['Limits', 'MicroBatcher', 'Service', 'build_app']
