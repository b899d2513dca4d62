from .data_preprocessor import ProductDataPreprocessor
from .decoders import (
    EMANegatives,
    GaussianNegatives,
    InstanceDecoder,
    InstanceQueries,
    SlotAttention,
    SwitchableNegatives,
    TextNegatives,
)
from .eclip import ECLIP
from .encoders import TransformersImageEncoder, TransformersTextEncoder
from .heads import InterProductHead, IntraProductHead, ITCHead, ITMHead, PretextHead
from .instance_network import InstanceNetwork
from .losses import AssignmentEntropyLoss, InfoNCELoss
from .momentum import MomentumTeacher
from .momentum_queue import MomentumQueue
from .pretrain_outputs import PretrainOutputs
from .prompts import PromptSampler

__all__ = [
    'ECLIP',
    'EMANegatives',
    'AssignmentEntropyLoss',
    'GaussianNegatives',
    'ITCHead',
    'ITMHead',
    'InfoNCELoss',
    'InstanceDecoder',
    'InstanceNetwork',
    'InstanceQueries',
    'InterProductHead',
    'IntraProductHead',
    'MomentumQueue',
    'MomentumTeacher',
    'PretextHead',
    'PretrainOutputs',
    'ProductDataPreprocessor',
    'PromptSampler',
    'SlotAttention',
    'SwitchableNegatives',
    'TextNegatives',
    'TransformersImageEncoder',
    'TransformersTextEncoder',
]
