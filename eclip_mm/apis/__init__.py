"""Using a trained model from Python."""

from .score_maps import draw_score_maps, load_model, spread_indices

__all__ = ['draw_score_maps', 'load_model', 'spread_indices']
