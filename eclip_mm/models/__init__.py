from eclip_mm.models.data_preprocessor import ProductDataPreprocessor
from eclip_mm.models.decoders import (
    CatalogueNegatives,
    EMANegatives,
    GaussianNegatives,
    InstanceDecoder,
    InstanceQueries,
    SlotAttention,
    SwitchableNegatives,
    TextNegatives,
)
from eclip_mm.models.eclip import ECLIP
from eclip_mm.models.encoders import TransformersImageEncoder, TransformersTextEncoder
from eclip_mm.models.heads import InterProductHead, IntraProductHead, ITCHead, ITMHead, PretextHead
from eclip_mm.models.instance_network import InstanceNetwork
from eclip_mm.models.losses import AssignmentEntropyLoss, InfoNCELoss
from eclip_mm.models.momentum import MomentumTeacher
from eclip_mm.models.momentum_queue import MomentumQueue
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.models.prompts import PromptSampler

__all__ = [
    'ECLIP',
    'EMANegatives',
    'AssignmentEntropyLoss',
    'CatalogueNegatives',
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
