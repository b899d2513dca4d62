"""Fetching pictures from URLs into a folder: in parallel, politely, and once."""

import json
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from eclip_mm.datasets.converters.feed.download import FetchError, FetchOptions, download
from eclip_mm.datasets.converters.feed.fetched import INDEX, FetchedPictures, url_stem
from eclip_mm.datasets.storage.report import list_problems
from eclip_mm.utils.files import whole_file


@dataclass
class FetchReport:
    """What became of the URLs.

    Attributes:
        num_urls: URLs asked for.
        num_there: pictures that were there already.
        num_fetched: pictures fetched now.
        num_bytes: their bytes.
        reasons: number of failures of each kind.
        problems: 'URL: reason' of each failure.
    """

    num_urls: int = 0
    num_there: int = 0
    num_fetched: int = 0
    num_bytes: int = 0
    reasons: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = (
            f'{self.num_urls} URLs: {self.num_there} pictures were there, {self.num_fetched} '
            f'fetched ({self.num_bytes / 2**20:.1f} MiB), {len(self.problems)} failed'
        )
        counts = ', '.join(f'{n} {reason}' for reason, n in self.reasons.most_common())
        return text + (f' ({counts})' if counts else '') + list_problems(self.problems)


def fetch_pictures(
    urls: Sequence[str],
    folder: str | Path,
    options: FetchOptions | None = None,
    retry: bool = False,
    progress: Callable[[Iterable], Iterable] = lambda results: results,
) -> FetchReport:
    """Fetch pictures that are not in the folder yet.

    The index of the folder gets a line when a picture is complete, so an interrupted run
    continues where it was. What failed for a reason that may pass is tried again by the
    next run, and the rest only with ``retry``.

    Args:
        urls: URLs, each once.
        folder: folder to write to.
        options: limits.
        retry: whether to try what failed for good in an earlier run.
        progress: function that wraps the iterable of results.

    Returns:
        Report with the counts and every failure.
    """
    options = options or FetchOptions()
    known = FetchedPictures(folder)
    report = FetchReport(num_urls=len(urls))
    left = []
    for url in urls:
        entry = known.entries.get(url, dict(passing=True))
        if 'file' in entry and isinstance(known.find(url), Path):
            report.num_there += 1
        elif 'file' in entry or retry or entry.get('passing'):
            left.append(url)
        else:
            _count(report, entry)
    known.folder.mkdir(parents=True, exist_ok=True)
    with open(known.folder / INDEX, 'ab') as index:
        if index.tell():
            index.write(b'\n')  # the last line may have been cut short
        for entry in progress(_fetch_all(left, known.folder, options)):
            index.write(json.dumps(entry).encode() + b'\n')
            index.flush()
            _count(report, entry)
    return report


def _count(report: FetchReport, entry: dict) -> None:
    if 'file' in entry:
        report.num_fetched += 1
        report.num_bytes += entry['bytes']
    else:
        report.reasons[entry['kind']] += 1
        report.problems.append(f'{entry["url"]}: {entry["problem"]}')


def _fetch_all(urls: Sequence[str], folder: Path, options: FetchOptions) -> Iterator[dict]:
    """Results in the order in which they arrive.

    Each host has a queue, which at most ``per_host`` threads empty: no host waits for another one.
    """
    hosts: dict[str, deque[str]] = {}
    for url in urls:
        hosts.setdefault(_host(url), deque()).append(url)
    results: queue.SimpleQueue[dict | Exception] = queue.SimpleQueue()
    stop = threading.Event()

    def serve(waiting: deque[str]) -> None:
        while waiting and not stop.is_set():
            try:
                url = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                results.put(_fetch(url, folder, options, stop))
            except Exception as error:  # a full disk is no fault of a URL: it ends the run
                results.put(error)
                return
            stop.wait(options.delay)

    with ThreadPoolExecutor(options.num_workers) as pool:
        for waiting in hosts.values():
            for _ in range(min(options.per_host, len(waiting))):
                pool.submit(serve, waiting)
        try:
            for _ in urls:
                found = results.get()
                if isinstance(found, Exception):
                    raise found
                yield found
        finally:
            stop.set()


def _host(url: str) -> str:
    """The host of a URL; empty for one that is malformed, which its own line will say."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ''


def _fetch(url: str, folder: Path, options: FetchOptions, stop: threading.Event) -> dict:
    """The line of the index for a URL."""
    for number in range(1, options.tries + 1):
        try:
            data, ending = download(url, options)
        except FetchError as error:
            failed = error
        except Exception as error:  # one URL must not end the others
            failed = FetchError('other', f'{type(error).__name__}: {error}')
        else:
            path = folder / (url_stem(url) + ending)
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as part:
                part.write_bytes(data)
            return dict(url=url, file=path.relative_to(folder).as_posix(), bytes=len(data))
        if not failed.passing or stop.is_set() or failed.wait > options.max_wait:
            break
        if number < options.tries:
            stop.wait(min(options.max_wait, max(failed.wait, 0.5 * 2**number)))
    return dict(url=url, problem=str(failed), kind=failed.kind, passing=failed.passing)
