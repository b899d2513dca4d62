"""At every moment there is a complete checkpoint to resume from."""

from pathlib import Path

import pytest

from helpers.runs import make_runner


def names(folder) -> list[str]:
    return sorted(path.name for path in Path(folder).glob('iter_*.pth'))


@pytest.mark.slow
@pytest.mark.parametrize(
    'keep, left', [(1, ['iter_4.pth']), (2, ['iter_3.pth', 'iter_4.pth']), (-1, None)]
)
def test_an_old_one_goes_when_the_new_one_is_there(tmp_path, keep, left):
    def run(epochs, **options):
        hook = dict(type='KeepingCheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=keep)
        runner = make_runner(
            tmp_path, epochs=epochs, default_hooks=dict(checkpoint=hook), **options
        )
        save, before = runner.save_checkpoint, []

        def look_and_save(*args, **kwargs):
            last = tmp_path / 'last_checkpoint'
            before.append(not last.exists() or Path(last.read_text()).is_file())
            save(*args, **kwargs)

        runner.save_checkpoint = look_and_save
        runner.train()
        return before

    assert run(1) == [True] * 4
    assert names(tmp_path) == (left or [f'iter_{i}.pth' for i in range(1, 5)])
    # a resumed run removes old ones as well
    assert run(2, resume=True) == [True] * 4
    wanted = range(9 - keep, 9) if keep > 0 else range(1, 9)
    assert names(tmp_path) == [f'iter_{i}.pth' for i in wanted]
