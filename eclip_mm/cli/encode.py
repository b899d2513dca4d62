"""``eclip-mm encode``: vectors of pictures, texts, and products that a text names in a picture."""

from eclip_mm.cli.inputs import add_negatives, model_parser, run

EXAMPLE = """examples:
  eclip-mm encode my_model 'red mug' photo.jpg
  eclip-mm encode my_model --jsonl products.jsonl > vectors.jsonl
  echo '{"id": 7, "image": "shelf.jpg", "text": "red mug"}' | eclip-mm encode my_model --jsonl -"""


def main(arguments: list[str], name: str) -> int:
    """Run the command; returns the exit code."""
    parser = model_parser(
        name, __doc__, EXAMPLE, 'a path that ends like a picture (.jpg), or any other text'
    )
    add_negatives(parser)
    return run(parser, parser.parse_args(arguments), 'encode')
