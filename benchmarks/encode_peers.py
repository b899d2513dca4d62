"""sentence-transformers and open_clip for benchmarks/encode.py; runs in an environment of its own.

    python encode_peers.py prepare FOLDER             # a random CLIP ViT-B/32 with its tokenizer
    python encode_peers.py open_clip|sentence_transformers FOLDER THREADS

A line of standard input is a JSON list of inputs; the answer is a line with the CPU seconds and
the vectors. It imports nothing of eclip_mm.
"""

import json
import re
import sys
import time
from pathlib import Path

import torch


def import_torchvision() -> None:
    """Import torchvision also where its operators were compiled for another build of torch.

    Only its transforms are used here, but it does not import without the names of operators.
    """
    library = torch.library.Library('torchvision', 'FRAGMENT')
    for _ in range(30):
        try:
            import torchvision  # noqa: F401

            return
        except RuntimeError as error:
            name = re.search(r'torchvision::(\w+) does not exist', str(error))
            if name is None:
                raise
            library.define(f'{name[1]}() -> ()')
            for module in [m for m in sys.modules if m.partition('.')[0] == 'torchvision']:
                del sys.modules[module]
    raise RuntimeError('torchvision cannot be imported')


def prepare(folder: Path) -> None:
    """Write a CLIP ViT-B/32 with random weights, as transformers writes it."""
    from open_clip.tokenizer import SimpleTokenizer
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    vocabulary = SimpleTokenizer()
    start, end = '<start_of_text>', '<end_of_text>'
    config = CLIPConfig(projection_dim=512)
    config.text_config.bos_token_id = vocabulary.encoder[start]
    config.text_config.eos_token_id = config.text_config.pad_token_id = vocabulary.encoder[end]
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    merges = list(vocabulary.bpe_ranks)
    own = Tokenizer(models.BPE(vocabulary.encoder, merges, end_of_word_suffix='</w>'))
    own.normalizer = normalizers.Lowercase()
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    own.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), 'removed', invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    own.decoder = decoders.ByteLevel()
    ends = ((start, vocabulary.encoder[start]), (end, vocabulary.encoder[end]))
    own.post_processor = processors.TemplateProcessing(f'{start} $A {end}', special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=own,
        bos_token=start,
        eos_token=end,
        pad_token=end,
        model_max_length=77,
        model_input_names=['input_ids', 'attention_mask'],
    ).save_pretrained(folder)


_NAMES = (
    (r'^vision_model\.embeddings\.class_embedding', 'visual.class_embedding'),
    (r'^vision_model\.embeddings\.patch_embedding', 'visual.conv1'),
    (r'^vision_model\.embeddings\.position_embedding\.weight', 'visual.positional_embedding'),
    (r'^vision_model\.pre_layrnorm', 'visual.ln_pre'),
    (r'^vision_model\.post_layernorm', 'visual.ln_post'),
    (r'^vision_model\.encoder\.layers', 'visual.transformer.resblocks'),
    (r'^text_model\.embeddings\.token_embedding', 'token_embedding'),
    (r'^text_model\.embeddings\.position_embedding\.weight', 'positional_embedding'),
    (r'^text_model\.encoder\.layers', 'transformer.resblocks'),
    (r'^text_model\.final_layer_norm', 'ln_final'),
    (r'layer_norm(\d)', r'ln_\1'),
    (r'mlp\.fc1', 'mlp.c_fc'),
    (r'mlp\.fc2', 'mlp.c_proj'),
    (r'self_attn', 'attn'),
)


def open_clip_weights(folder: Path) -> dict:
    """The weights of a CLIP of transformers, with the names that open_clip has for them."""
    from safetensors.torch import load_file

    state, found = load_file(folder / 'model.safetensors'), {}
    for key, value in state.items():
        if key.endswith('position_ids') or '.k_proj.' in key or '.v_proj.' in key:
            continue
        if '.q_proj.' in key:  # open_clip has one matrix for the three
            parts = [state[key.replace('q_proj', f'{name}_proj')] for name in 'qkv']
            kind, value = key.rpartition('.')[2], torch.cat(parts)
            key = key.replace(f'q_proj.{kind}', f'in_proj_{kind}')
        if key in ('visual_projection.weight', 'text_projection.weight'):
            key = {'v': 'visual.proj', 't': 'text_projection'}[key[0]]
            value = value.T
        for pattern, name in _NAMES:
            key = re.sub(pattern, name, key)
        found[key] = value.contiguous()
    return found


class OpenClip:
    def __init__(self, folder: Path) -> None:
        import open_clip
        from PIL import Image

        self.open = Image.open
        self.model, _, self.transform = open_clip.create_model_and_transforms('ViT-B-32-quickgelu')
        self.model.load_state_dict(open_clip_weights(folder))
        self.model.eval()
        self.tokenize = open_clip.get_tokenizer('ViT-B-32-quickgelu')

    @torch.no_grad()
    def encode(self, inputs: list[str]) -> list[list[float]]:
        vectors = []
        for start in range(0, len(inputs), 32):
            batch = inputs[start : start + 32]
            if batch[0].endswith('.jpg'):
                pixels = torch.stack([self.transform(self.open(path)) for path in batch])
                feats = self.model.encode_image(pixels, normalize=True)
            else:
                feats = self.model.encode_text(self.tokenize(batch), normalize=True)
            vectors += feats.tolist()
        return vectors


class SentenceTransformers:
    def __init__(self, folder: Path) -> None:
        from PIL import Image
        from sentence_transformers import SentenceTransformer

        self.open = Image.open
        self.model = SentenceTransformer(str(folder), device='cpu')

    def encode(self, inputs: list[str]) -> list[list[float]]:
        if inputs[0].endswith('.jpg'):  # paths would need a torchvision with decoders
            inputs = [self.open(path).convert('RGB') for path in inputs]
        return self.model.encode(
            inputs, batch_size=32, normalize_embeddings=True, show_progress_bar=False
        ).tolist()


def main() -> None:
    """Answer lines until the input ends."""
    import_torchvision()
    kind, folder = sys.argv[1], Path(sys.argv[2])
    if kind == 'prepare':
        prepare(folder)
        return
    torch.set_num_threads(int(sys.argv[3]))
    system = dict(open_clip=OpenClip, sentence_transformers=SentenceTransformers)[kind](folder)
    for line in sys.stdin:
        inputs = json.loads(line)
        start = time.process_time()
        vectors = system.encode(inputs)
        print(json.dumps([time.process_time() - start, vectors]), flush=True)


if __name__ == '__main__':
    main()
