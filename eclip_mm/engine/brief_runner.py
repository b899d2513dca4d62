"""A runner whose log fits on a screen until training starts."""

import logging
import os.path as osp

from mmengine.logging import MMLogger
from mmengine.runner import Runner

from eclip_mm.registry import RUNNERS

#: how the messages of mmengine's Runner begin that are longer than a screen
_LONG = ('Config:\n', 'Hooks will be executed', '\n' + '-' * 60 + '\nSystem environment:')


@RUNNERS.register_module()
class BriefRunner(Runner):
    """mmengine's runner; environment, config and order of the hooks go to the log file only."""

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs
    ) -> MMLogger:
        """As in mmengine; the console names the file."""
        log_file = log_file or osp.join(self._log_dir, f'{self.timestamp}.log')
        logger = super().build_logger(log_level, log_file, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(lambda record: not record.getMessage().startswith(_LONG))
        logger.info(f'{log_file} has the config, the environment and the hooks as well')
        return logger
