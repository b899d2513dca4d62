"""The network of BLIP: a fusion and a decoder that share all but self-attention."""

import torch
from torch import Tensor, nn

from eclip_mm.models.precision import at_least_float32
from projects.fusion.encoder import causal_mask, decoder_of
from projects.fusion.network import MatchingNetwork


class BLIPNetwork(MatchingNetwork):
    """Encoders, fusion, and a decoder that writes a picture's text word by word.

    The decoder reads the word vectors of the text tower instead of its tokens,
    each of which has seen the whole text. It has positions of its own.

    Args:
        max_length: largest number of tokens of a text.
        args, kwargs: of :class:`MatchingNetwork`.
    """

    def __init__(self, *args, max_length: int = 64, **kwargs):
        super().__init__(*args, **kwargs)
        width, vocab_size = self.text_encoder.embed_dims, self.text_encoder.vocab_size
        self.decoding = decoder_of(self.fusion, **self.fusion_options)
        vectors = self.text_encoder.model.get_input_embeddings()
        self.word_embed = nn.Linear(vectors.embedding_dim, width)
        self.places = nn.Embedding(max_length, width)
        self.embed_norm = nn.LayerNorm(width, eps=1e-12)
        # the first token tells the shared layers what they are used for: [ENC] and [DEC]
        self.tasks = nn.Parameter(torch.zeros(2, width))
        nn.init.normal_(self.tasks, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)
        self.caption = nn.Sequential(
            nn.Linear(width, width),
            nn.GELU(),
            nn.LayerNorm(width, eps=1e-12),
            nn.Linear(width, vocab_size),
        )

    def fuse(
        self, words: Tensor, mask: Tensor, patches: Tensor, maps: list[Tensor] | None = None
    ) -> Tensor:
        words = torch.cat([words[:, :1] + self.tasks[0], words[:, 1:]], dim=1)
        return super().fuse(words, mask, patches, maps)

    def caption_logits(self, input_ids: Tensor, mask: Tensor, patches: Tensor) -> Tensor:
        """The next word of each beginning of a text.

        Args:
            input_ids: (B, M); the first token is replaced by [DEC].
            mask: (B, M) bool.
            patches: (B, N, C) of :meth:`encode_picture`.

        Returns:
            (B, M, vocab_size).

        Raises:
            ValueError: texts are longer than ``max_length``.
        """
        size, most = input_ids.shape[1], self.places.num_embeddings
        if size > most:
            raise ValueError(
                f'a text has {size} tokens, and the decoder has {most} places: raise '
                'model.max_length, or lower max_length of TokenizeText'
            )
        states = self.word_embed(self.text_encoder.model.get_input_embeddings()(input_ids))
        first = self.tasks[1].expand(len(states), 1, -1).to(states.dtype)
        states = torch.cat([first, states[:, 1:]], dim=1)
        states = self.embed_norm(states + self.places.weight[:size])
        states, _ = self.decoding(states, causal_mask(mask), patches)
        return at_least_float32(self.caption(states))

    @torch.no_grad()
    def write(self, images: Tensor, end_id: int, max_words: int = 30) -> Tensor:
        """Write a text for each picture, the most likely word each time.

        Args:
            images: (B, 3, H, W) normalised pictures.
            end_id: id of the token that ends a text.
            max_words: largest number of tokens.

        Returns:
            (B, M) ids; ``end_id`` from the end of a text on.
        """
        _, patches, _ = self.encode_picture(images)
        ids = torch.full((len(images), 1), end_id, device=images.device)
        for _ in range(min(max_words, self.places.num_embeddings)):
            mask = torch.ones_like(ids, dtype=torch.bool)
            best = self.caption_logits(ids, mask, patches)[:, -1].argmax(dim=1)
            if ids.shape[1] > 1:
                best = torch.where(ids[:, -1] == end_id, end_id, best)
            ids = torch.cat([ids, best[:, None]], dim=1)
            if bool((best == end_id).all()):
                break
        return ids[:, 1:]
