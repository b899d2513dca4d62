"""The name of a picture: its product and its place in the stored row."""


def make_image_id(product_id: str, number: int) -> str:
    """``'{product_id}#{number}'``; ``number`` counts the pictures of the stored row from 0."""
    return f'{product_id}#{number}'


def image_number(image_id: str) -> int:
    """The place in the stored row that an image id names; the product_id may hold a ``#``."""
    return int(image_id.rpartition('#')[2])
