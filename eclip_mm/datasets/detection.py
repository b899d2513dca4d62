"""COCO boxes of products for mmdet: classes from the file, faults named and counted.

This module imports mmdet; a config imports it with
``custom_imports = dict(imports=['eclip_mm.datasets.detection'])``.
"""

import json
from collections.abc import Sequence

from mmdet.datasets import CocoDataset
from mmengine.fileio import get_text
from mmengine.logging import print_log

from eclip_mm.datasets.converters.coco_check import CocoFaults, check_coco
from eclip_mm.registry import DATASETS


@DATASETS.register_module()
class CocoProducts(CocoDataset):
    """mmdet's CocoDataset for any categories.

    If the config names no classes, they are those of the file, in its order; mmdet would look for
    COCO's own 80 classes and silently find no box. Faults are logged and kept in :attr:`faults`.

    Args:
        strict: raise at faults instead of leaving out what they are in.
        check_files: whether to check that the file of every picture exists.
        args, kwargs: see mmdet's ``CocoDataset``.

    Raises:
        ValueError: with ``strict``, at any fault, naming and counting every kind; without it, if
            nothing usable is left.
    """

    METAINFO: dict = {}

    def __init__(
        self,
        *args,
        ann_file: str = '',
        metainfo: dict | None = None,
        strict: bool = False,
        check_files: bool = True,
        **kwargs,
    ):
        self.strict = strict
        self.check_files = check_files
        self.faults: CocoFaults | None = None
        self.classes_from_file = 'classes' not in (metainfo or {})
        super().__init__(*args, ann_file=ann_file, metainfo=metainfo, **kwargs)

    def _join_prefix(self):
        """As in mmdet; from here on the path of the file is known, also with ``lazy_init``."""
        super()._join_prefix()
        if self.classes_from_file and self.ann_file:
            self._metainfo['classes'] = read_classes(self.ann_file)

    def load_data_list(self) -> list[dict]:
        data_list = super().load_data_list()
        if self.faults is None or not self.faults.faults:
            return data_list
        if self.strict:
            raise ValueError(f'{self.faults}\n(strict=False leaves out what is broken)')
        print_log(str(self.faults), logger='current', level=30)
        kept = [info for info in data_list if info['img_id'] not in self.faults.bad_images]
        if not kept:
            raise ValueError(f'{self.faults}\nnothing usable is left')
        return kept

    def parse_data_info(self, raw_data_info: dict) -> dict:
        if self.faults is None:
            root = self.data_prefix['img'] if self.check_files else None
            self.faults = check_coco(self.coco.dataset, root, self.ann_file)
        annotations = [
            annotation
            for annotation in raw_data_info['raw_ann_info']
            if annotation['id'] not in self.faults.bad_annotations
        ]
        return super().parse_data_info({**raw_data_info, 'raw_ann_info': annotations})


def read_classes(ann_file: str) -> tuple[str, ...]:
    """Names of the categories of a COCO file, in its order.

    Raises:
        ValueError: two categories have the same name.
    """
    names: Sequence[str] = [c['name'] for c in json.loads(get_text(ann_file))['categories']]
    if len(set(names)) < len(names):
        double = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f'{ann_file}: several categories have the names {double}; rename them')
    return tuple(names)
