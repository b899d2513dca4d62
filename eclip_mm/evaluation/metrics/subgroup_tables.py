"""Figures of subgroups as tables for the log."""

from eclip_mm.utils.text_table import format_table


def subgroup_tables(rows: list[dict]) -> list[tuple[str, str]]:
    """Lay out the rows of one metric with figures side by side.

    Args:
        rows: ``ProductMetric.tables``.

    Returns:
        Pairs of what the queries are grouped by and a table of values x means;
        one for each set of queries (texts are not pictures).
    """
    columns: dict = {}  # (by, values and counts) -> figure -> means
    for by, figure in dict.fromkeys((row['by'], row['figure']) for row in rows):
        own = [row for row in rows if (row['by'], row['figure']) == (by, figure)]
        counts = tuple((row['value'], row['count']) for row in own)
        columns.setdefault((by, counts), {})[figure] = [row['mean'] for row in own]
    tables = []
    for (by, counts), means in columns.items():
        cells = zip(*means.values(), strict=True)
        body = [[*count, *row] for count, row in zip(counts, cells, strict=True)]
        tables.append((by, format_table([by, 'queries', *means], body)))
    return tables
