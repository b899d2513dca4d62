"""Rows of slices as tables for the log."""

from eclip_mm.utils.text_table import format_table


def slice_tables(rows: list[dict]) -> list[tuple[str, str]]:
    """Lay out the rows of one metric, figures beside each other.

    Args:
        rows: ``ProductMetric.tables``.

    Returns:
        Per slice and set of queries (texts are not
        pictures) its name and its table: values x means.
    """
    columns: dict = {}  # (slice, values and counts) -> figure -> means
    for key, figure in dict.fromkeys((row['slice'], row['figure']) for row in rows):
        own = [row for row in rows if (row['slice'], row['figure']) == (key, figure)]
        counts = tuple((row['value'], row['count']) for row in own)
        columns.setdefault((key, counts), {})[figure] = [row['mean'] for row in own]
    tables = []
    for (key, counts), means in columns.items():
        cells = zip(*means.values(), strict=True)
        body = [[*count, *row] for count, row in zip(counts, cells, strict=True)]
        tables.append((key, format_table([key, 'queries', *means], body)))
    return tables
