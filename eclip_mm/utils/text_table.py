"""Tables as text, aligned for a terminal or in Markdown."""

from collections.abc import Sequence


def format_table(
    header: Sequence[str], rows: Sequence[Sequence], markdown: bool = False, digits: int = 3
) -> str:
    """Format a table with the first column aligned left and the others right.

    Args:
        header: names of the columns.
        rows: cells of each row. A float is rounded to ``digits`` decimals and
            None is shown as '-'.
        markdown: write a Markdown table instead of aligned text.
        digits: decimals of floats.

    Returns:
        The lines, without a newline at the end.

    Raises:
        ValueError: the number of cells of a row differs from that of the header.
    """

    def show(cell) -> str:
        if cell is None:
            return '-'
        text = f'{cell:.{digits}f}' if isinstance(cell, float) else str(cell)
        return text.replace('|', '\\|') if markdown else text

    table = [[show(cell) for cell in row] for row in [header, *rows]]
    for number, row in enumerate(table[1:]):
        if len(row) != len(header):
            raise ValueError(f'row {number} has {len(row)} cells, the header {len(header)}')
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = []
    for number, row in enumerate(table):
        cells = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f'| {" | ".join(cells)} |' if markdown else '  '.join(cells).rstrip())
        if number == 0:
            rules = ['-' * (width - 1) + (':' if i else '-') for i, width in enumerate(widths)]
            lines.append(f'| {" | ".join(rules)} |' if markdown else '-' * len('  '.join(cells)))
    return '\n'.join(lines)
