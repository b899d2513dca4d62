"""What requests hold, as the OpenAPI document shows it."""

import base64
import binascii
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_SCHEMA = dict(type='string', contentEncoding='base64', description='file of a picture in base64')


def decode_picture(value: object) -> bytes:
    """Bytes of a picture from base64, with or without ``data:image/...;base64,`` before it.

    Raises:
        ValueError: it is no base64, such as an address, which is never fetched.
    """
    if not isinstance(value, str):
        raise ValueError('a picture is a string, its file in base64')
    if value.startswith('data:') and ';base64,' in value[:100]:
        value = value.partition(';base64,')[2]
    elif '://' in value[:20]:
        raise ValueError('addresses are not fetched: send the file of the picture in base64')
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError('a picture is its file in base64, and this is no base64') from error


Picture = Annotated[bytes, BeforeValidator(decode_picture), WithJsonSchema(_SCHEMA)]
Name = Annotated[str, Field(min_length=1, pattern=r'\S')]


class Message(BaseModel):
    """A request; unknown keys are errors."""

    model_config = ConfigDict(extra='forbid')


class Input(Message):
    """A text, a picture, or both: the product in the picture that the text names."""

    text: Name | None = None
    image: Picture | None = None

    def as_input(self) -> dict:
        """The input as ``Eclip.encode`` takes it."""
        return self.model_dump(include={'text', 'image'}, exclude_none=True)


class EncodeRequest(Message):
    """Inputs to turn into vectors."""

    inputs: Annotated[list[Input], Field(min_length=1)]


class LocateRequest(Message):
    """Names to find in a picture."""

    image: Picture
    names: Annotated[list[Name], Field(min_length=1)]
    top_k: Annotated[int, Field(ge=1, le=20)] = 1
    maps: bool = False
    negatives: list[Name] | Literal['model'] | None = None
    boxes_of: Literal['map', 'regions'] = 'map'


class ClassifyRequest(Message):
    """Names to rank for a picture."""

    image: Picture
    names: Annotated[list[Name], Field(min_length=1)]
    top_k: Annotated[int, Field(ge=1)] | None = None


class SearchRequest(Input):
    """Words, a picture, both, or a product whose like is looked for."""

    like: Name | None = None
    k: Annotated[int, Field(ge=1)] = 10
    where: list[Name] = []
    per: Literal['product', 'row'] = 'product'
