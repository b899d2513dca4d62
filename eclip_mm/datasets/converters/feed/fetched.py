"""The folder of pictures that were fetched from URLs, and its index."""

import hashlib
import json
from pathlib import Path

INDEX = '_fetched.jsonl'


def url_stem(url: str) -> str:
    """Name of the file of a URL in the folder, without its ending."""
    digest = hashlib.sha256(url.encode()).hexdigest()
    return f'{digest[:2]}/{digest[2:26]}'  # 256 folders, so that none has millions of files


def default_folder(source: str | Path) -> Path:
    """Where the pictures of a feed are fetched to: ``{stem}_pictures`` beside the feed."""
    source = Path(source)
    return source.with_name(f'{source.name.split(".")[0]}_pictures')


class FetchedPictures:
    """What was fetched to a folder, URL by URL.

    The index is a file of JSON Lines: ``url``, and either ``file`` or ``problem``. A later line
    replaces an earlier one. A line that was cut short by the end of a process does not count.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.entries: dict[str, dict] = {}
        path = self.folder / INDEX
        if path.exists():
            with open(path, encoding='utf-8', errors='replace') as file:
                for line in file:
                    try:
                        entry = json.loads(line)
                        self.entries[entry['url']] = entry
                    except (ValueError, TypeError, KeyError):
                        continue

    def find(self, url: str) -> Path | str:
        """The file of a URL, or why there is none."""
        entry = self.entries.get(url)
        if entry is None:
            return 'has not been fetched; run tools/dataset_converters/fetch_pictures.py first'
        if 'file' in entry:
            path = self.folder / entry['file']
            return path if path.is_file() else f'its file {path} is gone; fetch it again'
        return entry['problem']
