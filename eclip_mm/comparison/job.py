"""One training and its test, or one test, in a process of its own.

    python -m eclip_mm.comparison.job FOLDER [--checkpoint-of FOLDER] [--untrained]

Started by ``tools/compare.py`` with the config in ``FOLDER``; writes
``FOLDER/metrics.json`` when all is done.
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

from eclip_mm.checkpoint.metadata import use_checkpoint, use_resumed_checkpoint
from eclip_mm.checkpoint.safe_loading import read_checkpoint
from eclip_mm.comparison.frozen import read_record
from eclip_mm.config.loading import CachedTextConfig
from eclip_mm.utils.files import write_whole_text

METRICS_FILE = 'metrics.json'


def read_metrics(folder: Path) -> dict | None:
    """What a finished job left: ``figures``, ``checkpoint``, ``trained``, ``seconds``."""
    path = folder / METRICS_FILE
    return json.loads(path.read_text()) if path.exists() else None


def run_job(folder: Path, checkpoint_of: Path | None = None, untrained: bool = False) -> dict:
    """Train and test, or test only.

    Args:
        folder: has the config; gets logs, checkpoints and the metrics.
        checkpoint_of: folder of the finished training to test instead.
        untrained: test the weights of the start.

    Returns:
        What is written: ``figures``; ``checkpoint``, the file's name;
        ``trained``, an id of the training; ``seconds`` that this process took.
    """
    start = time.time()
    cfg = read_record(folder)
    cfg = CachedTextConfig(cfg._cfg_dict, cfg.text, 'config.py')  # the name mmengine saves it by
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
    """Load all that a model has; what else the file holds is not needed.

    Raises:
        ValueError: The checkpoint lacks something: figures of weights that
            were never trained mean nothing.
    """
    state = read_checkpoint(checkpoint)['state_dict']
    if missing := model.load_state_dict(state, strict=False).missing_keys:
        raise ValueError(
            f'{checkpoint} has no {missing[:5]}: the variant is another model than its run trained'
        )


def last_checkpoint(folder: Path) -> Path:
    """The newest checkpoint of a training, wherever its folder was moved to."""
    return folder / Path((folder / 'last_checkpoint').read_text().strip()).name


def end_with_parent(parent: int) -> None:
    """No training goes on unseen: a process group ends when the process that began it is gone.

    Where that is killed it can end nothing itself. The system then gives its
    children another parent, which is what a thread here looks for.

    Args:
        parent: id of the process that has started this one, in a session of
            its own.
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
    parser.add_argument('--parent', type=int, help='end as soon as this process is gone')
    args = parser.parse_args()
    if args.parent is not None:
        end_with_parent(args.parent)
    with open(args.folder / 'lock', 'w') as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with the process
        except OSError:
            raise SystemExit(f'{args.folder}: another process is at work here') from None
        run_job(args.folder, args.checkpoint_of, args.untrained)


if __name__ == '__main__':
    main()
