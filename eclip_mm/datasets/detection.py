"""COCO boxes of products for mmdet: classes from the file, faults named and counted.

Imports mmdet; a config asks for it with
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

    Where the config names no classes, they are those of the file, in its
    order; mmdet would look for COCO's own 80 and find no box, silently. What
    is broken is logged, see :attr:`faults`.

    Args:
        strict: raise at faults instead of leaving them out.
        check_files: whether to look for every picture's file.
        args, kwargs: see mmdet's ``CocoDataset``.

    Raises:
        ValueError: with ``strict``, naming and counting every kind of fault; without, where
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
        """mmdet's; the path of the file is known from here on, also with ``lazy_init``."""
        super()._join_prefix()
        if self.classes_from_file and self.ann_file:
            self._metainfo['classes'] = read_classes(self.ann_file)

    def load_data_list(self) -> list[dict]:
        data_list = super().load_data_list()
        if self.faults is None or not self.faults.faults:
            return data_list
        if self.strict:
            raise ValueError(f'{self.faults}\n(strict=False leaves them out)')
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
    """Names of a COCO file's categories, in its order.

    Raises:
        ValueError: two categories share a name.
    """
    names: Sequence[str] = [c['name'] for c in json.loads(get_text(ann_file))['categories']]
    if len(set(names)) < len(names):
        double = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f'{ann_file}: categories share the names {double}; rename them')
    return tuple(names)
