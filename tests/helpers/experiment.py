"""An experiment file to take apart."""

from pathlib import Path

DEMO = Path(__file__).resolve().parents[2] / 'configs/demo'
GOOD = dict(
    runs=dict(
        eclip=str(DEMO / 'eclip_tiny_synthetic.py'),
        clip=dict(
            config=str(DEMO / 'clip_tiny_synthetic.py'),
            cfg_options={'model.momentum.momentum': 0.9},
        ),
    ),
    variants=dict(
        noise=dict(of='eclip', cfg_options={'model.negative_queries.type': 'GaussianNegatives'})
    ),
    seeds=[3, 4],
    cfg_options={'train_cfg.max_epochs': 2, 'param_scheduler.1.end': 2},
    tables=[
        dict(
            title='T',
            columns={'photos/fine_R@1': 'fine'},
            rows=[dict(run='eclip', label='ours', paper=[44.3]), dict(run='noise')],
        )
    ],
    claims=['eclip > clip on photos/right_box'],
)


def write_experiment(folder: Path, **changes) -> Path:
    """``experiment.py`` with the keys of :data:`GOOD`, some of them changed."""
    path = folder / 'experiment.py'
    content = {**GOOD, **changes}
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in content.items()))
    return path
