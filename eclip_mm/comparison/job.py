"""Process that runs one training and its test, or one test.

    python -m eclip_mm.comparison.job FOLDER [--checkpoint-of FOLDER] [--untrained]

``tools/compare.py`` starts it with the config in ``FOLDER``; at the end it
writes ``FOLDER/metrics.json``.
"""

import argparse
import fcntl
import json
import os
import signal
import threading
import time
from pathlib import Path

from mmengine.runner import Runner

from eclip_mm.checkpoint.metadata import last_checkpoint, use_checkpoint, use_resumed_checkpoint
from eclip_mm.checkpoint.safe_loading import read_checkpoint
from eclip_mm.comparison.frozen import read_record
from eclip_mm.config.feature_cache import use_feature_cache
from eclip_mm.config.loading import CachedTextConfig
from eclip_mm.utils.files import write_whole_text
from eclip_mm.utils.memory import reuse_freed_memory

METRICS_FILE = 'metrics.json'


def read_metrics(folder: Path) -> dict | None:
    """Read a finished job's ``figures``, ``checkpoint``, ``trained`` and ``seconds``."""
    path = folder / METRICS_FILE
    return json.loads(path.read_text()) if path.exists() else None


def run_job(folder: Path, checkpoint_of: Path | None = None, untrained: bool = False) -> dict:
    """Train and test, or test only.

    Args:
        folder: contains the config; receives logs, checkpoints and metrics.
        checkpoint_of: folder of a finished training to test; nothing is
            trained then.
        untrained: test the initial weights.

    Returns:
        The written metrics: ``figures``; ``checkpoint``, the name of its file;
        ``trained``, an id of the training; ``seconds``, the duration of this
        process.
    """
    start = time.time()
    cfg = read_record(folder)
    cfg = CachedTextConfig(cfg._cfg_dict, cfg.text, 'config.py')  # mmengine saves it by this name
    use_feature_cache(cfg)
    cfg.work_dir = str(folder)
    source, trained = checkpoint_of or folder, None
    if checkpoint_of is not None:
        trained = read_metrics(checkpoint_of)['trained']
    if checkpoint_of is not None or untrained:
        cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    else:
        cfg.resume, trained = True, time.time()
        use_resumed_checkpoint(cfg)
    if checkpoint_of is not None:
        use_checkpoint(cfg, last_checkpoint(checkpoint_of))
    runner = Runner.from_cfg(cfg)
    if checkpoint_of is not None:
        load_weights(runner.model, last_checkpoint(checkpoint_of))
    if cfg.train_cfg is not None:
        runner.train()
    figures = runner.test()
    metrics = dict(
        figures=figures,
        checkpoint=None if untrained else last_checkpoint(source).name,
        trained=trained,
        seconds=time.time() - start,
    )
    write_whole_text(folder / METRICS_FILE, json.dumps(metrics, indent=2))
    return metrics


def load_weights(model, checkpoint: Path) -> None:
    """Load all weights of a model; the file may hold more.

    Raises:
        ValueError: the checkpoint lacks a weight. Figures of untrained weights
            would be meaningless.
    """
    state = read_checkpoint(checkpoint)['state_dict']
    if missing := model.load_state_dict(state, strict=False).missing_keys:
        raise ValueError(
            f'{checkpoint} has no {missing[:5]}: the variant has another model than its run'
        )


def end_with_parent(parent: int) -> None:
    """End this process group when the process that started it is gone.

    A killed parent cannot end its children, which would train on unnoticed.
    The system gives them another parent; a thread waits for this.

    Args:
        parent: id of the process that started this one in a new session.
    """

    def wait():
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--checkpoint-of', type=Path)
    parser.add_argument('--untrained', action='store_true')
    parser.add_argument('--parent', type=int, help='end when this process is gone')
    args = parser.parse_args()
    reuse_freed_memory()
    if args.parent is not None:
        end_with_parent(args.parent)
    with open(args.folder / 'lock', 'w') as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the process ends
        except OSError:
            raise SystemExit(f'{args.folder}: another process is working here') from None
        run_job(args.folder, args.checkpoint_of, args.untrained)


if __name__ == '__main__':
    main()
