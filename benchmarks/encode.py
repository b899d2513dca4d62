"""Throughput of Eclip.encode beside sentence-transformers' and open_clip's with the same weights.

    python benchmarks/encode.py --peers /path/to/peers/bin/python

All encode the same pictures and texts with one CLIP ViT-B/32 of random weights, in one run, in
turns; a time is the best of the rounds, in CPU seconds, from the file or string to the vector.
--peers names the Python of an environment with torch, transformers, torchvision, open_clip_torch
and sentence-transformers. A line of output is JSON; `cosine` is the least of a vector with that of
Eclip in float32.
"""

import argparse
import json
import subprocess
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np

PEERS = ('open_clip', 'sentence_transformers')


def main() -> None:
    """Time all systems in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--inputs', type=int, default=64, help='pictures, and texts; default: 64')
    kinds = ['pictures', 'texts']
    parser.add_argument('--kinds', nargs='+', choices=kinds, default=kinds, help='default: both')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--peers', required=True, help='Python of the environment of the peers')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(args, Path(folder))


def run(args: argparse.Namespace, folder: Path) -> None:
    import torch

    torch.set_num_threads(args.threads)
    script = str(Path(__file__).with_name('encode_peers.py'))
    clip = folder / 'clip'
    subprocess.run([args.peers, script, 'prepare', str(clip)], check=True)
    systems = own_systems(clip, folder)
    processes = {}
    for name in PEERS:
        command = [args.peers, script, name, str(clip), str(args.threads)]
        processes[name] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        systems[name] = lambda inputs, process=processes[name]: ask(process, inputs)
    made = make_inputs(args.inputs, folder)
    for what in args.kinds:
        inputs = made[what]
        for encode in systems.values():  # not counted: caches, files in memory
            encode(inputs[:2])
        seconds: dict[str, list] = {name: [] for name in systems}
        vectors = {}
        for _ in range(args.rounds):
            for name, encode in systems.items():
                taken, vectors[name] = encode(inputs)
                seconds[name].append(taken)
        wanted = vectors['eclip_mm float32']
        for name in systems:
            rate = len(inputs) / min(seconds[name])
            cosine = (vectors[name] * wanted).sum(1).min()
            result = dict(inputs=what, system=name, per_cpu_second=round(rate, 1))
            result |= dict(cosine=round(float(cosine), 5), threads=args.threads)
            print(json.dumps(result), flush=True)
    for process in processes.values():
        process.stdin.close()
        process.wait()


def ask(process: subprocess.Popen, inputs: list[str]) -> tuple[float, np.ndarray]:
    process.stdin.write(json.dumps(inputs) + '\n')
    process.stdin.flush()
    seconds, vectors = json.loads(process.stdout.readline())
    return seconds, np.array(vectors)


def own_systems(clip: Path, folder: Path) -> dict:
    """Eclip with the weights of a CLIP of transformers, by name."""
    import torch

    from eclip_mm.apis import Eclip
    from eclip_mm.apis.model_export import export_model
    from eclip_mm.apis.model_sources import load_source
    from eclip_mm.apis.onnx_export import write_graphs
    from eclip_mm.checkpoint.model_folder import add_sums

    model = export_model(write_checkpoint(clip, folder / 'clip.pth'), folder / 'model')
    add_sums(model, write_graphs(load_source(model), model).files())  # the times are of any graphs
    eclip, graphs = Eclip(model, device='cpu'), Eclip(model, backend='onnx')

    def timed(eclip, context=nullcontext):
        def encode(inputs: list[str]) -> tuple[float, np.ndarray]:
            start = time.process_time()
            with context():
                found = eclip.encode(inputs, strict=True)
            return time.process_time() - start, np.array([r['vector'] for r in found])

        return encode

    return {
        'eclip_mm float32': timed(eclip),
        'eclip_mm bf16': timed(eclip, lambda: torch.autocast('cpu', torch.bfloat16)),
        'eclip_mm ONNX': timed(graphs),
    }


def write_checkpoint(clip: Path, path: Path) -> Path:
    """A checkpoint as a training of an ECLIP that has begun with a CLIP writes it."""
    import torch
    from mmengine.config import Config

    from eclip_mm.checkpoint.metadata import encoder_architectures
    from eclip_mm.datasets.tokenizers import AutoTokenizer
    from eclip_mm.registry import MODELS
    from eclip_mm.testing import tiny_model_config

    cfg = tiny_model_config(embed_dims=512, pretrained_dual=str(clip))
    cfg['image_encoder'] = dict(type='TransformersImageEncoder')
    cfg['text_encoder'] = dict(type='TransformersTextEncoder')
    for name in ('inter', 'itm', 'intra'):  # no decoder: the others have none
        cfg['pretext_heads'][name] = None
    model = MODELS.build(cfg)
    tokenizer = AutoTokenizer(str(clip))
    pipeline = [
        dict(type='LoadProductImages'),
        dict(type='Resize', size=224),
        dict(
            type='TokenizeText',
            tokenizer=dict(type='AutoTokenizer', name_or_path=str(clip)),
            max_length=77,
        ),
        dict(type='PackProductInputs'),
    ]
    test = dict(type='ProductImageDataset', catalogue='none', pipeline=pipeline)
    saved = Config(dict(model=cfg, test_dataloader=dict(dataset=test)))
    meta = dict(
        cfg=saved.pretty_text,
        encoders=encoder_architectures(model),
        tokenizer=dict(
            json=tokenizer.to_json(), pad_token_id=tokenizer.pad_token_id, fingerprint='x'
        ),
    )
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


def make_inputs(count: int, folder: Path) -> dict[str, list[str]]:
    """Paths of square photos of 500 x 500 pixels, and titles of 4 to 14 words."""
    from PIL import Image

    rng = np.random.default_rng(0)
    words = 'red blue mug bowl large small 330 ml pack of two organic cotton shirt'.split()
    pictures, texts = [], []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(256, size=(25, 25, 3), dtype=np.uint8))
        path = folder / f'{number}.jpg'
        coarse.resize((500, 500), Image.Resampling.BICUBIC).save(path, quality=90)
        pictures.append(str(path))
        texts.append(' '.join(rng.choice(words, size=4 + number % 11)))
    return dict(pictures=pictures, texts=texts)


if __name__ == '__main__':
    main()
