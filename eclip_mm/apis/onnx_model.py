"""A model whose towers and decoder are ONNX graphs, with the interface that tasks use."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from eclip_mm.apis.model_sources import LoadedModel
from eclip_mm.checkpoint.model_folder import ModelFolderError, check_sums, read_model_folder
from eclip_mm.datasets.tokenizers import JsonTokenizer
from eclip_mm.datasets.transforms.text import TokenizeText
from eclip_mm.models import ECLIP
from eclip_mm.models.embed_dims import with_embed_dims
from eclip_mm.registry import MODELS
from eclip_mm.utils.env_check import check_onnx

#: folder of the graphs in the folder of a model, and the file that describes them
FOLDER, DESCRIPTION = 'onnx', 'onnx/config.json'
IMAGE, TEXT, DECODER = (f'onnx/{name}.onnx' for name in ('image', 'text', 'decoder'))


@dataclass
class OnnxDescription:
    """What the graphs do not say themselves.

    Attributes:
        precision: ``fp32``, ``fp16`` or ``int8``.
        picture: (height, width) of the pictures in pixels.
        grid: (h, w) of the patch tokens.
        num_queries: T of the training; None without a decoder.
        parity: figures beside those of the weights, see
            :class:`~eclip_mm.apis.onnx_parity.Parity`.
    """

    precision: str
    picture: list[int]
    grid: list[int]
    num_queries: int | None
    parity: dict | None = None

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=1) + '\n'
        (folder / DESCRIPTION).write_text(text, encoding='utf-8')

    def files(self) -> list[str]:
        """Names of the files in the folder of the model."""
        return [DESCRIPTION, IMAGE, TEXT, *([DECODER] if self.num_queries else [])]


def load_onnx(path: str | Path, device: torch.device) -> LoadedModel:
    """Load the graphs of a folder of ``tools/export.py --onnx``.

    Args:
        path: the folder.
        device: where the graphs run; results are on the CPU.

    Raises:
        EnvironmentCheckError: onnxruntime is not installed.
        ModelFolderError: the folder has no graphs, or is damaged.
        ValueError: onnxruntime does not know the device.
    """
    check_onnx()
    path = Path(path)
    if not (path / DESCRIPTION).is_file():
        raise ModelFolderError(
            f'{path} has no ONNX graphs: write it with python tools/export.py CHECKPOINT FOLDER '
            '--onnx'
        )
    check_sums(path, [DESCRIPTION])
    about = OnnxDescription(**json.loads((path / DESCRIPTION).read_text(encoding='utf-8')))
    check_sums(path, about.files())
    folder = read_model_folder(path)
    tokenizer = JsonTokenizer(folder.tokenizer, folder.texts['pad_token_id'])
    return LoadedModel(
        model=OnnxModel(folder.model, folder.weights, path, about, device).eval(),
        config=folder.model,
        pictures=folder.pictures,
        tokenize=TokenizeText(tokenizer, folder.texts['max_length']),
        checkpoint=folder.checkpoint,
    )


class OnnxModel(nn.Module):
    """The parts of an ``ECLIP`` that inference uses; negative queries stay modules of torch.

    Args:
        config: of the ``ECLIP``.
        weights: of the whole model, of which the graphs hold most.
        folder: of the model.
        about: of the graphs.
        device: where they run.
    """

    score_map_blocks = 'last'  # the graph has averaged those of the model
    locate = ECLIP.locate

    def __init__(
        self,
        config: dict,
        weights: dict[str, Tensor],
        folder: Path,
        about: OnnxDescription,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.network = OnnxNetwork(config.get('embed_dims', 512), folder, about, device)
        self.with_decoder = about.num_queries is not None
        self.negative_queries = None
        if self.with_decoder:
            source = with_embed_dims(
                config['negative_queries'], self.network.embed_dims, 'negative_queries'
            )
            self.negative_queries = MODELS.build(source)
        self.logit_scale = nn.Parameter(torch.zeros(()), requires_grad=False)
        own = {key: value for key, value in weights.items() if not key.startswith('network.')}
        own = {key: value for key, value in own.items() if key in self.state_dict()}
        self.load_state_dict(own)

    def data_preprocessor(self, data: dict) -> dict:
        """Pictures are normalised in the graph."""
        return data


class OnnxNetwork(nn.Module):
    """The three graphs; arguments and results as those of ``InstanceNetwork``."""

    def __init__(
        self, embed_dims: int, folder: Path, about: OnnxDescription, device: torch.device
    ) -> None:
        super().__init__()
        self.embed_dims, self.grid = embed_dims, tuple(about.grid)
        self._image, self._text = (_session(folder / name, device) for name in (IMAGE, TEXT))
        self.queries = None
        if about.num_queries is not None:
            self.queries = _NumQueries(about.num_queries)
            self._decoder = _session(folder / DECODER, device)

    def encode_image(self, pixels: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Image features (B, D), patch tokens (B, N, D) and grid of (B, 3, H, W) uint8 pixels."""
        return *_run(self._image, pixels=pixels), self.grid

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, D) features."""
        return _run(self._text, input_ids=input_ids, attention_mask=attention_mask)[0]

    def decode(
        self, patch_tokens: Tensor, prompts: Tensor, modality: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The instance (B, 1, D) and the map (B, N, 1) of the first prompt, which is a text."""
        tokens = patch_tokens.expand(len(prompts), -1, -1)
        feats, score_map = _run(self._decoder, patch_tokens=tokens, prompts=prompts)
        return feats[:, None], [score_map[..., None]]


@dataclass
class _NumQueries:
    num_queries: int


def _session(path: Path, device: torch.device):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    provider: object = 'CPUExecutionProvider'
    if device.type != 'cpu':
        name = f'{device.type.upper()}ExecutionProvider'
        if name not in onnxruntime.get_available_providers():
            raise ValueError(
                f'this onnxruntime has no {name}: install one for {device.type}, or device="cpu"'
            )
        provider = (name, dict(device_id=device.index or 0))
    return onnxruntime.InferenceSession(str(path), options, providers=[provider])


def _run(session, **inputs: Tensor) -> list[Tensor]:
    arrays = {name: np.ascontiguousarray(value.numpy()) for name, value in inputs.items()}
    return [torch.from_numpy(output) for output in session.run(None, arrays)]
