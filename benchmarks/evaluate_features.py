"""Time and memory of a whole evaluation, ours and with whole matrices, on the same features.

    python benchmarks/evaluate_features.py                  # 100,000 products, reference at 20,000
    python benchmarks/evaluate_features.py --products 2000 --reference-products 2000

Every product has a merchant picture (gallery), a customer's photo (query) with two boxes, and a
text. The evaluation consists of retrieval under all four protocols, image-text retrieval in both
directions, and classification by category. The reference (plain numpy and scikit-learn) keeps
whole similarity matrices in memory, so it runs at a smaller size. Ours runs at that size as well,
where both must give the same figures, and at the full size. Each runs in its own process. The last
line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from memory import peak, resident
from sklearn.metrics import top_k_accuracy_score

# imported here, so that times and memory do not include it
from eclip_mm.evaluation import ProductEvaluator
from eclip_mm.registry import METRICS

NUM_CATEGORIES = 100
TOPK = dict(m5=(1, 5, 10), fine=(1, 5, 10), ir=(1, 5, 10), product1m=(10, 50))


class Features:
    """Generated features with normalised rows; photos 2i and 2i + 1 show product i."""

    def __init__(self, products: int, dims: int) -> None:
        rng = np.random.default_rng(0)
        self.classes = _unit(rng.standard_normal((NUM_CATEGORIES, dims), dtype=np.float32))
        self.category = rng.integers(0, NUM_CATEGORIES, products)
        self.other = rng.integers(0, products, products)  # second box of a product's photo
        self.texts = np.empty((products, dims), dtype=np.float32)
        self.images = np.empty((2 * products, dims), dtype=np.float32)
        self.instances = np.empty_like(self.images)

        def noise(num, size):
            return rng.standard_normal((num, dims), dtype=np.float32) * np.float32(
                size / dims**0.5
            )

        for start in range(0, products, 1000):
            rows = slice(start, min(start + 1000, products))
            num = rows.stop - rows.start
            centre = self.classes[self.category[rows]] + noise(num, 0.7)
            self.texts[rows] = _unit(centre + noise(num, 1.5))
            for feats, size in ((self.images, 1.5), (self.instances, 1.0)):
                for photo in (0, 1):
                    part = slice(2 * rows.start + photo, 2 * rows.stop, 2)
                    feats[part] = _unit(centre + noise(num, size))

    def nbytes(self) -> int:
        """Return the bytes of all features."""
        return self.texts.nbytes + self.images.nbytes + self.instances.nbytes


def _unit(feats):
    return feats / np.linalg.norm(feats, axis=1, keepdims=True)


def ours(data: Features) -> dict:
    """Compute the figures by the registered metrics and ProductEvaluator."""
    roles = dict(query_sources=['comment'], gallery_sources=['merchant'])
    metrics = [
        METRICS.build(dict(type='ProductRetrieval', protocol=name, topk=topk, prefix='x', **roles))
        for name, topk in TOPK.items()
    ]
    metrics.append(METRICS.build(dict(type='ImageTextRetrieval', prefix='x')))
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Path(folder) / 'classes.jsonl'
        row = '{{"product_id": "{0}", "text": "{0}", "category": "c{0}", "images": [{{"path": "x"'
        lines = [row.format(i) + ', "source": "merchant"}]}' for i in range(NUM_CATEGORIES)]
        catalogue.write_text('\n'.join(lines) + '\n')
        config = dict(type='ZeroShotClassification', target='category', subgroups=(), prefix='x')
        metrics.append(METRICS.build(dict(config, catalogue=str(catalogue))))
    metrics[-1].set_class_feats([f'c{i}' for i in range(NUM_CATEGORIES)], data.classes)
    for metric in metrics:
        metric.named_figures = _timed(metric)
    evaluator = ProductEvaluator(metrics)
    for start in range(0, len(data.images), 1000):
        stop = min(start + 1000, len(data.images))
        evaluator.process([_sample(data, photo) for photo in range(start, stop)])
    figures = evaluator.evaluate(len(data.images))
    return {key.removeprefix('x/'): value for key, value in figures.items()}


def _timed(metric):
    measure = metric.named_figures

    def timed(results):
        start = time.perf_counter()
        figures = measure(results)
        name = f'{type(metric).__name__} {getattr(metric, "protocol", "")}'
        print(f'  {name}: {time.perf_counter() - start:.1f} s', file=sys.stderr, flush=True)
        return figures

    return timed


def _sample(data: Features, photo: int) -> dict:
    product = photo // 2
    boxes = (str(product), str(data.other[product])) if photo % 2 else ()
    return dict(
        product_id=str(product),
        text=f'text {product}',
        category=f'c{data.category[product]}',
        sources=('comment' if photo % 2 else 'merchant',),
        object_product_ids=boxes,
        pred_image_feat=data.images[photo],
        pred_text_feat=data.texts[product],
        pred_instance_feat=data.instances[photo],
    )


def reference(data: Features) -> dict:
    """Compute the same figures from whole matrices, as a script would."""
    figures = {}
    products = np.arange(len(data.texts))
    ranked = _rank(data.instances[1::2] @ data.instances[::2].T, 50)
    category = data.category[ranked] == data.category[:, None]
    same = ranked == products[:, None]
    sizes = np.bincount(data.category, minlength=NUM_CATEGORIES)[data.category]
    ones = np.ones_like(products)
    for name, relevant, total in (
        ('m5', category, sizes),
        ('fine', same, ones),
        ('ir', same, ones),
    ):
        for k in TOPK[name]:
            if name == 'm5':
                depth = np.minimum(k, total)
                hits = (relevant & (np.arange(relevant.shape[1]) < depth[:, None])).sum(1)
                figures[f'm5_P@{k}'] = (hits / depth).mean()
            else:
                figures[f'{name}_R@{k}'] = relevant[:, :k].any(1).mean()
            figures[f'{name}_mAP@{k}'] = _precision(relevant, total, k, name).mean()
    boxes = np.stack([products, data.other], 1)
    relevant = (ranked[:, :, None] == boxes[:, None]).any(2)
    for k in TOPK['product1m']:
        figures[f'product1m_mAP@{k}'] = _precision(relevant, 2 * ones, k, 'm5').mean()
        found = (ranked[:, :k, None] == boxes[:, None]).any(1)  # one gallery item per product
        figures[f'product1m_mAR@{k}'] = found.mean()
    scores = data.images @ data.texts.T
    owner = np.arange(len(data.images)) // 2
    for k in (1, 5, 10):
        figures[f'i2t_R@{k}'] = (_rank(scores, k) == owner[:, None]).any(1).mean()
        figures[f't2i_R@{k}'] = (_rank(scores.T, k) // 2 == products[:, None]).any(1).mean()
    del scores
    scores = data.images @ data.classes.T
    labels = np.repeat(data.category, 2)
    for k in (1, 5):
        figures[f'category_top{k}'] = top_k_accuracy_score(
            labels, scores, k=k, labels=np.arange(NUM_CATEGORIES)
        )
    return {key: float(value) for key, value in figures.items()}


def _rank(scores, k: int):
    k = min(k, scores.shape[1])
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind='stable')
    return np.take_along_axis(best, order, 1)


def _precision(relevant, total, k: int, protocol: str):
    place = np.arange(1, relevant.shape[1] + 1)
    depth = np.full(len(relevant), k) if protocol == 'ir' else np.minimum(k, total)
    seen = relevant & (place <= depth[:, None])
    summed = (seen * seen.cumsum(1) / place).sum(1)
    return summed / np.maximum(total if protocol == 'ir' else seen.sum(1), 1)


def run_one(way: str, products: int, dims: int) -> None:
    """Measure one variant in this process; the last line of the output is JSON."""
    data = Features(products, dims)
    before, start = resident(), time.perf_counter()
    figures = (ours if way == 'ours' else reference)(data)
    result = dict(
        way=way,
        products=products,
        seconds=round(time.perf_counter() - start, 2),
        features_gib=round(data.nbytes() / 2**30, 3),
        peak_above_features_gib=round((peak() - before) / 2**30, 3),
    )
    print(json.dumps(dict(result, figures=figures)))


def main() -> None:
    """Run the three measurements one after the other and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--products', type=int, default=100_000)
    parser.add_argument('--reference-products', type=int, default=20_000)
    parser.add_argument('--dims', type=int, default=512)
    parser.add_argument('--way', choices=('ours', 'reference'), help='only this, in this process')
    args = parser.parse_args()
    if args.way:
        run_one(args.way, args.products, args.dims)
        return
    small = args.reference_products
    runs = []
    for way, products in dict.fromkeys(
        [('reference', small), ('ours', small), ('ours', args.products)]
    ):
        print(f'{way}, {products:,} products', file=sys.stderr, flush=True)
        command = [sys.executable, __file__, '--way', way, '--products', str(products)]
        command += ['--dims', str(args.dims)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        runs.append(json.loads(output.splitlines()[-1]))
    whole, tiled = (run.pop('figures') for run in runs[:2])
    for run in runs:
        run.pop('figures', None)
        print(
            f'{run["way"]:>9}  {run["products"]:>9,} products  {run["seconds"]:>8.1f} s  '
            f'{run["peak_above_features_gib"]:>6.2f} GiB above the features '
            f'({run["features_gib"]:.2f} GiB)'
        )
    # float32 matrices are rounded, so a few of thousands of queries may rank differently
    apart = max(abs(tiled[key] - value) for key, value in whole.items())
    print(
        json.dumps(
            dict(
                runs=runs,
                time_ratio=round(runs[1]['seconds'] / runs[0]['seconds'], 2),
                num_figures=len(whole),
                largest_difference=apart,
            )
        )
    )
    if apart > 1e-3:
        sys.exit('the two variants give different figures')


if __name__ == '__main__':
    main()
