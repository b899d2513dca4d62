"""The model of two streams that CAPTURE, SCALE, ViLBERT and UNITER are wirings of."""

import torch
from torch import Tensor

from eclip_mm.models.eclip import ECLIP
from eclip_mm.models.product_ids import hash_product_ids
from eclip_mm.registry import MODELS
from eclip_mm.structures import ProductDataSample
from eclip_mm.utils.dist import gather_on_host, local_rows
from projects.streams.checks import check_widths
from projects.streams.draws import StepSampler, check_tasks
from projects.streams.network import StreamsNetwork
from projects.streams.outputs import StreamOutputs
from projects.streams.regions import with_neighbours
from projects.streams.texts import take_texts


class StreamsModel(ECLIP):
    """The towers of :class:`ECLIP` with two streams; further arguments are ECLIP's.

    Training, for each product with a text and a picture::

        text, words hidden -> text encoder -> words        \\
                                                            streams -> states
        picture -> image encoder -> regions, some hidden   /
        heads(StreamOutputs) -> losses

    Args:
        streams: config of the :class:`StreamEncoder`.
        masking: config of the :class:`StepMasks`.
        regions: ``PatchRegions`` (the default), or ``BoxRegions`` for the
            boxes of a proposer.
        mismatch_prob: probability that a picture is given another product's
            text, for a head that tells such pairs.
        tasks: task -> share of the steps that do it alone: ``mlm`` hides
            words, ``mrm`` hides regions, and ``itm`` gives other texts. None if
            every step does all.
        kwargs: of :class:`ECLIP`.

    Raises:
        KeyError: a task that is not known.
        ValueError: a pretext task needs the instance decoder, ``chunk_size`` is
            given, or a width or vocabulary differs from that of the encoders.
    """

    network_type = StreamsNetwork

    def __init__(
        self,
        streams: dict,
        masking: dict,
        regions: dict | None = None,
        mismatch_prob: float = 0.0,
        tasks: dict | None = None,
        **kwargs,
    ):
        name = type(self).__name__
        if kwargs.get('chunk_size') is not None:
            raise ValueError(
                f'{name} keeps the activations of the whole batch: chunk_size='
                f'{kwargs["chunk_size"]} would not bound its memory. Set it to None'
            )
        super().__init__(streams=streams, regions=regions, **kwargs)
        if self.with_decoder:
            wrong = [key for key, head in self.heads.items() if head.needs_decoder]
            raise ValueError(
                f'{name} has no instance decoder, which pretext_heads {wrong} need; '
                'set them to None'
            )
        check_tasks(tasks)
        self.masking = MODELS.build(masking)
        encoders = self.network.text_encoder, self.network.image_encoder
        widths = dict(vocab_size=encoders[0].vocab_size, region_dims=encoders[1].embed_dims)
        check_widths(dict(self.heads.items()), widths, self.masking)
        self.prompts = StepSampler(mismatch_prob, tasks)  # the name that gets the run's seed
        if hasattr(self.network.regions, 'follow'):
            self.network.regions.follow(self.data_preprocessor)

    def extract(self, inputs: dict, data_samples: list[ProductDataSample]) -> StreamOutputs:
        """Encoders and streams on one training batch."""
        images = inputs['images'][:, 0]
        text = own_text = inputs['input_ids'], inputs['attention_mask']
        ids = hash_product_ids([s.product_id for s in data_samples])
        rows, all_ids = local_rows(len(ids)), gather_on_host(ids)
        draws = self.prompts(all_ids, rows, self.num_steps)
        is_pair = draws.is_pair.to(images.device)
        if self.prompts.mismatch_prob:
            text = take_texts(*own_text, draws.partner)
        regions, _ = self.network.find_regions(images)
        input_ids, word_targets = text[0], torch.full_like(text[0], -100)
        wanted = hidden = torch.zeros_like(regions.mask)
        of_step = draws.seed, len(all_ids), rows
        if draws.task in (None, 'mlm'):
            input_ids, word_targets = self.masking.words(*text, *of_step)
        if draws.task in (None, 'mrm'):
            wanted, hidden = self.masking.regions(regions.mask, *of_step)
            hidden = with_neighbours(hidden, regions.places)
        states = self.network.read(input_ids, text[1], regions, hidden)
        image_feats, text_feats = self.features(states, regions, own_text)
        return StreamOutputs(
            image_feats,
            text_feats,
            id_hash=ids.to(images.device),
            logit_scale=self.logit_scale.exp(),
            states=states,
            regions=regions,
            word_targets=word_targets.masked_fill(~is_pair[:, None], -100),
            hidden_regions=wanted & is_pair[:, None],
            is_pair=is_pair,
            region_embed=self.network.streams.region_embed,
            task=draws.task,
        )

    def features(self, states, regions, text: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """L2-normalised features of pictures and texts, (B, D) each."""
        raise NotImplementedError
