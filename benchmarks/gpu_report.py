"""The parts of gpu.sh: each runs in its own process, and none longer than the time that is left.

The part that matters most comes first. A part that fails or takes too long leaves its error in
gpu.json, and the others go on.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

from eclip_mm.utils.files import write_whole_json, write_whole_text

FOLDER = Path(__file__).parent
#: seconds for all parts; the last one stops then
BUDGET = 520


def list_parts(on_gpu: bool) -> dict[str, tuple[int, list[str]]]:
    """List the parts in order: name -> its limit in seconds, and its command."""
    config = 'configs/eclip_vitb16.py' if on_gpu else 'configs/demo/eclip_tiny_synthetic.py'
    batch, step = ('256', '5') if on_gpu else ('20', '2')
    steps = ['train_step.py', config, '--batch-size', batch, '--steps', step, '--texts', 'titles']
    chunks = ['400', '200', '6400'] if on_gpu else ['24', '12', '48']
    chunks = [
        word
        for pair in zip(('--batch-size', '--chunk-size', '--large'), chunks, strict=True)
        for word in pair
    ]
    systems = ['peer', 'eclip', 'clip']
    if on_gpu and importlib.util.find_spec('open_clip'):
        systems.append('open_clip')
    compiled = ['peer', 'peer compiled', 'eclip compiled'] if on_gpu else ['peer']
    return {
        'steps': (150, [*steps, '--systems', *systems]),
        'waits': (60, ['host_reads.py', config, '--batch-size', batch]),
        'chunks': (90, ['chunked_step.py', config, *chunks, '--steps', '2']),
        'embedding': (60, ['embedding_rate.py', config, '--batch-size', batch]),
        'compiled': (200, [*steps, '--systems', *compiled]),
    }


def run_part(command: list[str], limit: float, log) -> dict:
    """Run a part; returns what its last line says, or ``error``."""
    command = [sys.executable, str(FOLDER / command[0]), *command[1:]]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=log, text=True, timeout=limit, check=True
        )
        result = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        result = dict(error=f'longer than {limit:.0f} s')
    except subprocess.CalledProcessError as error:
        result = dict(error=f'exit status {error.returncode}, see gpu.log')
    return dict(result, took=round(time.perf_counter() - start, 1))


def format_rows(report: dict) -> list[str]:
    """Format the table: a line for each system and each other figure."""
    device = f'{report["device"]}, torch {report["torch"]}'
    lines = [f'{device}: {report["took"]} s in all', '']
    head = ('system', 's/step', 'ratio', 'by count', 'of matmul', 'peak GiB')
    lines.append('{:22} {:>8} {:>7} {:>9} {:>10} {:>9}'.format(*head))
    for part in ('steps', 'compiled'):
        for systems in report[part].get('results', {}).values():
            for name, row in systems.items():
                lines.append(
                    f'{name:22} {row["seconds"]:8.3f} {row["ratio"]:7.3f} '
                    f'{row["gflop_ratio"]:9.3f} {row["of_matmul"]:10.1%} {row["peak_gib"]:9.2f}'
                )
    lines.append('')
    if 'whole' in report['chunks']:
        for way in ('whole', 'chunks', 'large'):
            row, of = report['chunks'][way], 'large_batch' if way == 'large' else 'batch'
            lines.append(
                f'{report["chunks"][of]} products, {way}: {row["seconds"]:.2f} s, '
                f'{row["peak_above_model_gib"]:.2f} GiB above the model'
            )
    for name, rate in report['embedding'].get('per_second', {}).items():
        lines.append(f'embedding in {name}: {rate:.1f} products a second')
    if 'waits' in report['waits']:
        lines.append(f'the host waits {report["waits"]["waits"]} times a step')
    for name, part in report.items():
        if isinstance(part, dict) and 'error' in part:
            lines.append(f'{name}: {part["error"]}')
    return lines


def main() -> None:
    """Run all parts, and write gpu.json and gpu.txt after each of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path, help='folder for gpu.json, gpu.txt and gpu.log')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--budget', type=float, default=BUDGET, help='seconds for all parts')
    args = parser.parse_args()
    on_gpu = args.device.startswith('cuda')
    name = torch.cuda.get_device_name() if on_gpu else 'CPU'
    parts = list_parts(on_gpu)
    report = dict(device=name, torch=torch.__version__, took=0.0)
    report.update({part: dict(error='not run: no time was left') for part in parts})
    start = time.perf_counter()
    with open(args.out / 'gpu.log', 'w') as log:
        for part, (limit, command) in parts.items():
            left = args.budget - (time.perf_counter() - start)
            if left > 20:
                command = [*command, '--device', args.device]
                report[part] = run_part(command, min(limit, left), log)
            report['took'] = round(time.perf_counter() - start, 1)
            write_whole_json(args.out / 'gpu.json', report)
            write_whole_text(args.out / 'gpu.txt', '\n'.join(format_rows(report)) + '\n')
    print((args.out / 'gpu.txt').read_text(), end='')


if __name__ == '__main__':
    main()
