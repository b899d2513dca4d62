"""COCO boxes of products for mmdet: classes from the file, faults named and counted.

This module imports mmdet; a config imports it with
``custom_imports = dict(imports=['eclip_mm.datasets.detection'])``.
"""

import contextlib
import io
from collections.abc import Sequence

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.logging import print_log

from eclip_mm.datasets.converters.coco_check import CheckedCoco, check_coco, read_categories
from eclip_mm.datasets.converters.coco_faults import CocoFaults
from eclip_mm.datasets.converters.coco_json import read_coco_json
from eclip_mm.registry import DATASETS


@DATASETS.register_module()
class CocoProducts(CocoDataset):
    """mmdet's CocoDataset for any categories.

    If the config names no classes, they are those of the file, in its order; mmdet would look for
    COCO's own 80 classes and silently find no box. Labels are positions in the classes, also where
    the file has another order (mmdet's are in the order of the file). Categories of one name are
    one class. Faults are logged and kept in :attr:`faults`.

    Args:
        strict: raise at faults instead of leaving out what they are in.
        check_files: whether to check that the file of every picture exists.
        args, kwargs: see mmdet's ``CocoDataset``.

    Raises:
        ValueError: the file is no COCO file; with ``strict``, at any fault, naming and counting
            every kind; without it, if nothing usable is left.
    """

    METAINFO: dict = {}
    labels_are_classes = True

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
            categories = read_categories(self.ann_file, self.backend_args)
            self._metainfo['classes'] = tuple(category['name'] for category in categories)

    def COCOAPI(self, path: str) -> COCO:  # noqa: N802 (mmdet's name)
        """The index of what can be used of the file, from which mmdet makes the samples."""
        checked = check_coco(
            read_coco_json(path),
            self.ann_file,
            image_root=self.data_prefix['img'],
            check_files=self.check_files,
        )
        self.faults = checked.faults
        if self.faults.faults and self.strict:
            raise ValueError(f'{self.faults}\n(strict=False leaves out what is broken)')
        if not checked.images or not (checked.annotations or self.test_mode):
            raise ValueError(
                f'{self.faults}\nno {"box" if checked.images else "image"} can be used'
            )
        if self.faults.lines():
            print_log(str(self.faults), logger='current', level=30)
        return coco_index(checked, self.metainfo['classes'])


def coco_index(checked: CheckedCoco, classes: Sequence[str]) -> COCO:
    """Index of pycocotools, whose categories begin with the classes, in their order.

    Categories of one name are one, a class without a category gets one, and annotations are
    numbered from 1: pycocotools takes the number 0 for a box that was not found.
    """
    id_of: dict[str, int | str] = {}
    for category_id, category in checked.categories.items():
        id_of.setdefault(category['name'], category_id)
    text = any(isinstance(category_id, str) for category_id in checked.categories)
    for free, name in enumerate(classes, max([0, *(() if text else checked.categories)]) + 1):
        # numbers and texts cannot be sorted together
        id_of.setdefault(name, f'class {name}' if text else free)
    names = dict.fromkeys([*classes, *id_of])
    coco = COCO()
    coco.dataset = dict(
        images=list(checked.images.values()),
        categories=[
            {**checked.categories.get(id_of[name], {}), 'id': id_of[name], 'name': name}
            for name in names
        ],
        annotations=[
            {
                **annotation,
                'id': number,
                'category_id': id_of[checked.categories[annotation['category_id']]['name']],
            }
            for number, annotation in enumerate(checked.annotations, 1)
        ],
    )
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    # mmdet's other names for the same
    coco.img_ann_map, coco.cat_img_map = coco.imgToAnns, coco.catToImgs
    return coco
