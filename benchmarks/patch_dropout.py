"""Time, arithmetic and memory of a training step at several rates of ``patch_dropout``.

    python benchmarks/patch_dropout.py --layers 2 --batch-size 20     # thin towers: a quick check
    python benchmarks/patch_dropout.py                                # ViT-B/16, as the paper's
    python benchmarks/patch_dropout.py --rates 0 0.5 0.75

The steps of all rates alternate; see ``train_step.py``, which measures them and takes all other
arguments. The ratios are those to the first rate.
"""

import argparse
import sys

import train_step


def main() -> None:
    """Let train_step.py measure one system for each rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], add_help=False)
    parser.add_argument('--rates', nargs='+', type=float, default=[0.0, 0.25, 0.5])
    args, others = parser.parse_known_args()
    if '--texts' not in others:
        others += ['--texts', 'titles']
    systems = [f'eclip model.image_encoder.patch_dropout={rate:g}' for rate in args.rates]
    sys.argv[1:] = [*others, '--systems', *systems]
    train_step.main()


if __name__ == '__main__':
    main()
