"""Use of a trained model from Python."""

from eclip_mm.apis.catalogue_names import prepare_negatives
from eclip_mm.apis.eclip import Eclip
from eclip_mm.apis.inferencer import EclipInferencer
from eclip_mm.apis.input_pictures import InputError
from eclip_mm.apis.prediction import (
    load_config_and_model,
    load_model,
    predict_items,
    split_datasets,
)
from eclip_mm.apis.retrieval import NothingToFind, draw_retrieval, keep_feature, sheet_of_samples
from eclip_mm.apis.score_maps import draw_score_maps
from eclip_mm.apis.tsne import draw_tsne
from eclip_mm.utils.spread import spread_indices

__all__ = [
    'Eclip',
    'EclipInferencer',
    'InputError',
    'NothingToFind',
    'draw_retrieval',
    'draw_score_maps',
    'draw_tsne',
    'keep_feature',
    'load_config_and_model',
    'load_model',
    'predict_items',
    'prepare_negatives',
    'sheet_of_samples',
    'split_datasets',
    'spread_indices',
]
