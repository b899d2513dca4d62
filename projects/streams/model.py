"""The model of two streams that CAPTURE, SCALE, ViLBERT and UNITER are wirings of."""

from dataclasses import replace

import torch
from torch import Tensor

from eclip_mm.models.eclip import ECLIP
from eclip_mm.models.product_ids import hash_product_ids
from eclip_mm.structures import ProductDataSample
from eclip_mm.utils.dist import gather_on_host
from projects.fusion.masked_modelling import NOT_HIDDEN
from projects.streams.draws import StepChoices
from projects.streams.masked_tasks import MaskedTasksHead
from projects.streams.network import StreamsNetwork
from projects.streams.outputs import StreamOutputs, StreamStates
from projects.streams.regions import Regions, with_neighbours
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
        regions: ``PatchRegions`` (the default), or ``BoxRegions`` for the
            boxes of a proposer.
        mismatch_prob: probability that a picture is given another product's
            text, for a head that tells such pairs.
        tasks: task -> share of the steps that do it alone: ``mlm`` hides
            words, ``mrm`` hides regions, and ``itm`` gives other texts. None if
            every step does all.
        kwargs: of :class:`ECLIP`.

    Raises:
        ValueError: a pretext task needs the instance decoder, ``chunk_size`` is
            given, there is not one :class:`MaskedTasksHead`, or it has other
            widths than the encoders.
    """

    network_type = StreamsNetwork

    def __init__(
        self,
        streams: dict,
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
        masked = [k for k, head in self.heads.items() if isinstance(head, MaskedTasksHead)]
        if len(masked) != 1:
            raise ValueError(
                f'{name} needs one MaskedTasksHead, pretext_heads has {len(masked)}: '
                f'{sorted(self.heads)}'
            )
        self.heads[masked[0]].fit(self.network, masked[0])
        self.modelling = (self.heads[masked[0]].modelling,)  # which the head holds
        self.prompts = StepChoices(mismatch_prob, tasks)  # the name that gets the run's seed
        if hasattr(self.network.regions, 'follow'):
            self.network.regions.follow(self.data_preprocessor)

    def extract(self, inputs: dict, data_samples: list[ProductDataSample]) -> StreamOutputs:
        """Encoders and streams on one training batch."""
        images = inputs['images'][:, 0]
        text = own_text = inputs['input_ids'], inputs['attention_mask']
        ids = hash_product_ids([s.product_id for s in data_samples])
        choices = self.prompts.choose(gather_on_host(ids), len(ids), self.num_steps)
        is_pair = choices.is_pair.to(images.device)
        if self.prompts.mismatch_prob:
            text = take_texts(*own_text, choices.partner)
        regions, _ = self.network.find_regions(images)
        shown, hidden_regions = self.hide_regions(regions, choices.task)
        input_ids, word_targets = self.hide_words(*text, choices.task)
        states = self.network.read(input_ids, text[1], shown)
        image_feats, text_feats = self.features(states, regions, own_text)
        return StreamOutputs(
            image_feats,
            text_feats,
            id_hash=ids.to(images.device),
            logit_scale=self.logit_scale.exp(),
            states=states,
            regions=regions,
            word_targets=word_targets.masked_fill(~is_pair[:, None], NOT_HIDDEN),
            hidden_regions=hidden_regions & is_pair[:, None],
            is_pair=is_pair,
            task=choices.task,
        )

    def hide_words(
        self, input_ids: Tensor, attention_mask: Tensor, task: str | None
    ) -> tuple[Tensor, Tensor]:
        """(B, M) ids of which some are hidden, and targets, in a step that has this task."""
        if task not in (None, 'mlm'):
            return input_ids, torch.full_like(input_ids, NOT_HIDDEN)
        # as many draws on every rank, whatever its longest text
        length = self.network.text_encoder.max_length or input_ids.shape[1]
        draws = self.prompts.rows('words', self.num_steps, len(input_ids), length, 3)
        return self.modelling[0].hide_words(input_ids, attention_mask, draws)

    def hide_regions(self, regions: Regions, task: str | None) -> tuple[Regions, Tensor]:
        """Regions of which some are hidden, and (B, K) which are to be predicted."""
        feats, mask = regions.feats[:, 1:], regions.mask[:, 1:]
        if task not in (None, 'mrm'):
            return regions, torch.zeros_like(mask)
        draws = self.prompts.rows('regions', self.num_steps, *mask.shape, 2)
        shown, chosen = self.modelling[0].hide_patches(feats, draws)
        hidden = chosen & (shown == 0).all(dim=-1)
        close = with_neighbours(hidden, regions.places[:, 1:]) & ~chosen
        shown = shown.masked_fill(close[..., None], 0)
        return replace(regions, feats=torch.cat([regions.feats[:, :1], shown], 1)), chosen & mask

    def features(
        self, states: StreamStates, regions: Regions, text: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """L2-normalised features of pictures and of the products' own texts, (B, D) each."""
        raise NotImplementedError
