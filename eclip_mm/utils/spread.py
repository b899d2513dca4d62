"""A few of many, evenly spread."""


def spread_indices(size: int, count: int) -> list[int]:
    """Spread ``count`` indices evenly over a data set, so that no example is hand-picked."""
    count = min(size, count)
    return [k * size // count for k in range(count)]
