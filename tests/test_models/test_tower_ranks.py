"""Every trained parameter of a tower gets a gradient: DDP with accumulation waits for each."""

import pytest
from mmengine.config import Config

from eclip_mm.config.launch import allow_accumulation, prepare_cpu_launch
from eclip_mm.testing import end_rank, tiny_model_config
from helpers.processes import start_ranks
from helpers.rank_runs import DDP, train
from helpers.runs import BATCH, runner_config

SMALL = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
PICTURES = dict(SMALL, image_size=32, patch_size=16)
TOWERS = {
    'clip_vision_model': PICTURES,
    'siglip_vision_model': PICTURES,
}


def _train_all(rank, folder):
    for model_type, fields in TOWERS.items():
        model = tiny_model_config(embed_dims=16, num_blocks=1)
        model['image_encoder'].update(model_type=model_type, config=fields)
        cfg = Config(
            runner_config(f'{folder}/{model_type}', model=model, launcher='pytorch', **DDP)
        )
        cfg.train_dataloader.batch_size = BATCH // 2
        cfg.optim_wrapper.accumulative_counts = 2
        prepare_cpu_launch(cfg)
        allow_accumulation(cfg)
        train(cfg)
    end_rank()


@pytest.mark.slow
@pytest.mark.alone
def test_towers_train_on_two_ranks_with_accumulation(tmp_path):
    start_ranks(_train_all, tmp_path)
    for model_type in TOWERS:
        assert (tmp_path / model_type / 'iter_4.pth').is_file()
