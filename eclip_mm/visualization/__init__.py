"""Pictures and tables for people: score maps, retrieval sheets, curves, tables of figures."""

from eclip_mm.visualization.ablation_bars import plot_ablation_bars
from eclip_mm.visualization.curves import load_curves, plot_curves
from eclip_mm.visualization.retrieval_sheet import retrieval_sheet
from eclip_mm.visualization.score_map import draw_score_map, overlay_score_map, score_map_sheet
from eclip_mm.visualization.table import metrics_table
from eclip_mm.visualization.tsne import plot_tsne, tsne_plane

__all__ = [
    'draw_score_map',
    'load_curves',
    'metrics_table',
    'overlay_score_map',
    'plot_ablation_bars',
    'plot_curves',
    'plot_tsne',
    'retrieval_sheet',
    'score_map_sheet',
    'tsne_plane',
]
