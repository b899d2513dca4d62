"""Everything that loads a checkpoint, each in a process in which nothing was loaded before.

    python loading_programs.py FOLDER

``FOLDER`` has ``config.py``, a training, and ``stranger.pth``, a pickled file. Importing a module
does not change how mmengine loads (``safe_loading.install`` is explicit), so all modules are
imported once, and each program runs in a fork. ``raised.json`` then says what each of them raised.
"""

import json
import os
import runpy
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader

from eclip_mm.apis import load_model
from eclip_mm.comparison.frozen import RECORD
from eclip_mm.comparison.job import load_weights, run_job
from eclip_mm.config.detection import fill_architecture
from eclip_mm.config.loading import load_config
from eclip_mm.datasets.checkpoint_tokenizer import CheckpointTokenizer
from eclip_mm.models.detection.class_prompts import NameEncoder
from eclip_mm.models.detection.pretrained import load_pretrained

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(sys.argv[1])
CONFIG, STRANGER = str(FOLDER / 'config.py'), str(FOLDER / 'stranger.pth')


def tool(name: str, *arguments: str) -> None:
    # with --traceback a program raises what it would otherwise print
    sys.argv = [name, *arguments, '--work-dir', str(FOLDER / 'work'), '--traceback']
    runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')


def demo() -> None:
    work_dir = FOLDER / 'demo'
    work_dir.mkdir()
    (work_dir / 'last_checkpoint').write_text(STRANGER)
    train_and_test = runpy.run_path(str(ROOT / 'tools/demo.py'))['train_and_test']
    train_and_test(load_config(CONFIG), work_dir)


def users_own_program(**options) -> None:
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(dict(work_dir=str(FOLDER / 'own'), load_from=STRANGER, **options))
    Runner.from_cfg(cfg).train()


def comparison_job() -> None:
    folder = FOLDER / 'job'
    folder.mkdir()
    shutil.copy(CONFIG, folder / RECORD)
    (folder / 'last_checkpoint').write_text(shutil.copy(STRANGER, folder))
    run_job(folder)


def mmdet_proposer() -> None:
    from eclip_mm.evaluation.proposals.mmdet_proposer import MMDetProposer

    MMDetProposer('mmdet::rpn/rpn_r50_fpn_1x_coco.py', STRANGER, device='cpu')


PROGRAMS = {
    'train.py --resume': lambda: tool('train.py', CONFIG, '--resume', STRANGER),
    'train.py load_from': lambda: tool(
        'train.py', CONFIG, '--cfg-options', f'load_from={STRANGER}'
    ),
    'test.py': lambda: tool('test.py', CONFIG, STRANGER),
    'demo.py': demo,
    'Runner with PlainCheckpointHook': users_own_program,
    'Runner that resumes': lambda: users_own_program(resume=True),
    'load_model': lambda: load_model(Config.fromfile(CONFIG), STRANGER),
    'comparison job': comparison_job,
    'comparison load_weights': lambda: load_weights(torch.nn.Linear(1, 1), STRANGER),
    'CheckpointTokenizer': lambda: CheckpointTokenizer(STRANGER),
    'detection config': lambda: fill_architecture(
        dict(type='EclipBackbone', init_cfg=dict(checkpoint=STRANGER))
    ),
    'detection weights': lambda: load_pretrained(dict(a=torch.nn.Linear(1, 1)), STRANGER),
    'detection names': lambda: NameEncoder(STRANGER),
}
if find_spec('mmdet') is not None:
    import mmdet.apis  # noqa: F401

    PROGRAMS['MMDetProposer'] = mmdet_proposer


def run(program) -> str:
    """What a program raises in a process of its own."""
    message = FOLDER / 'message'
    if pid := os.fork():
        os.waitpid(pid, 0)
        return message.read_text()
    try:
        program()
        message.write_text('nothing')
    except Exception as error:
        message.write_text(f'{type(error).__name__}: {error}')
    finally:
        os._exit(0)


if __name__ == '__main__':
    torch.set_num_threads(1)
    own = CheckpointLoader._schemes[''].__module__
    assert own.startswith('mmengine'), f'an import has installed {own}'
    raised = {name: run(program) for name, program in PROGRAMS.items()}
    (FOLDER / 'raised.json').write_text(json.dumps(raised))
