"""What the console shows of a run before its first step."""

from mmengine.config import Config

from eclip_mm.engine import BriefRunner
from helpers.runs import runner_config


def test_config_environment_and_hooks_are_in_the_file_only(tmp_path, capsys):
    cfg = Config(runner_config(tmp_path, log_level='INFO'))
    runner = BriefRunner.from_cfg(cfg)
    runner.logger.info('one line')
    shown = capsys.readouterr().out
    (log,) = tmp_path.glob('*/*.log')
    written = log.read_text()
    for text in ('System environment', 'Config:', 'optim_wrapper', 'Hooks will be executed'):
        assert text in written and text not in shown, text
    assert str(log) in shown and 'one line' in shown
    assert len(shown.splitlines()) < 10 < 60 < len(written.splitlines())
