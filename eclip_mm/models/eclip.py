"""ECLIP: instance-centric vision-language pretraining (CVPR 2023)."""

import difflib
import math
import zlib

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from eclip_mm.models.chunked import check_chunk_size, in_chunks
from eclip_mm.models.compiled import compile_parts
from eclip_mm.models.decoders import IMAGE, TEXT, scale_prompts
from eclip_mm.models.instance_network import InstanceNetwork
from eclip_mm.models.precision import at_least_float32
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.models.score_map import assignment_score_map, check_blocks, similarity_score_map
from eclip_mm.models.slot_health import slot_health
from eclip_mm.registry import MODELS
from eclip_mm.structures import ProductDataSample
from eclip_mm.utils.dist import gather, local_rows
from eclip_mm.utils.finite import check_finite

#: the names that the base configs give to the paper's tasks
TASKS = ('itc', 'inter', 'itm', 'intra')


@MODELS.register_module()
class ECLIP(BaseModel):
    """Image and text encoder, instance decoder, pretext tasks.

    Training, per product with pictures x, x' from two sources and a text::

        x  -> image encoder -> g_I(v_cls), Z      text -> text encoder -> g_T(w_cls)
        Z, prompts of T products -> instance decoder -> H^L, M
        x' -> momentum model  -> h_xi, image prompts
        heads(PretrainOutputs) -> losses

    A model whose heads need no decoder builds none and is CLIP; one whose
    heads and prompts need no momentum model builds none.

    Args:
        image_encoder, text_encoder: encoder configs.
        queries: instance queries (Eq. 1).
        decoder: instance decoder (Eq. 2-5).
        prompts: how training draws prompts.
        negative_queries: the T-1 negatives of the transfer stage.
        momentum: the EMA teacher.
        pretext_heads: name -> head config; a name set to None is off.
        embed_dims: joint width D.
        init_logit_scale: 1 / tau at the start; learned as a log, at most
            ``max_logit_scale``. None takes that of ``pretrained_dual``, and
            raises the limit to it, or 1 / 0.07.
        init_logit_bias: for losses and probabilities that add a bias to the
            logits (softmax needs none); not trained by the heads here. None
            takes that of ``pretrained_dual``, if there is one.
        score_map_blocks: decoder blocks whose assignments make the score map:
            ``last``, ``mean`` or a list of indices.
        chunk_size: products whose activations are in memory at a time, see
            :func:`in_chunks`; the losses are those of the whole batch, a step
            takes about a quarter more arithmetic. None for all at once.
        num_distractors: other pictures of the batch whose patch tokens join a
            picture's own in training, as if all stood in one photo. For
            catalogues whose photos show one product each: there any token
            tells what the picture is, and the decoder need not learn where to
            look. They come from this rank's batch: the losses then depend on
            the number of ranks. 0 for photos of several products.
        network_options: of :class:`InstanceNetwork`: ``pretrained_dual``,
            ``projections``, ``patch_projection``, ``freeze``.
        compile: True, or options of ``torch.compile``: training compiles
            encoders, decoder and heads, see :func:`compile_parts`.
    """

    #: encodes and decodes; for subclasses whose features are others
    network_type = InstanceNetwork

    def __init__(
        self,
        image_encoder: dict,
        text_encoder: dict,
        queries: dict,
        decoder: dict,
        prompts: dict,
        negative_queries: dict,
        momentum: dict,
        pretext_heads: dict,
        embed_dims: int = 512,
        init_logit_scale: float | None = None,
        max_logit_scale: float = 100.0,
        score_map_blocks: str | list[int] = 'last',
        chunk_size: int | None = None,
        num_distractors: int = 0,
        compile: bool | dict = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        init_logit_bias: float | None = None,
        **network_options,
    ):
        super().__init__(
            MODELS.build(data_preprocessor or dict(type='ProductDataPreprocessor')), init_cfg
        )
        check_head_names(pretext_heads)
        self.heads = nn.ModuleDict(
            {name: MODELS.build(cfg) for name, cfg in pretext_heads.items() if cfg is not None}
        )
        if not self.heads:
            raise ValueError('pretext_heads switches every task off: nothing would be trained')
        self.with_decoder = any(head.needs_decoder for head in self.heads.values())
        self.network = self.network_type(
            image_encoder,
            text_encoder,
            embed_dims,
            queries if self.with_decoder else None,
            decoder if self.with_decoder else None,
            **network_options,
        )
        if hasattr(self.data_preprocessor, 'follow'):
            self.data_preprocessor.follow(self.network.preprocessing)
        check_chunk_size(chunk_size, self.network)
        self.chunk_size = chunk_size
        self.prompts = self.negative_queries = self.teacher = None
        self.teacher_decodes = any(head.needs_teacher for head in self.heads.values())
        if self.with_decoder:
            self.prompts = MODELS.build(
                dict(prompts, num_queries=self.network.queries.num_queries)
            )
            self.negative_queries = MODELS.build(dict(negative_queries, embed_dims=embed_dims))
            if self.teacher_decodes or self.prompts.image_prob > 0:
                self.teacher = MODELS.build(dict(momentum, network=self.network))
        if init_logit_scale is None:
            init_logit_scale = self.network.init_logit_scale
            max_logit_scale = max(max_logit_scale, init_logit_scale)
        if init_logit_bias is None:
            init_logit_bias = self.network.init_logit_bias
        bias = None if init_logit_bias is None else torch.tensor(float(init_logit_bias))
        self.register_buffer('logit_bias', bias)
        self.logit_scale = nn.Parameter(torch.tensor(float(init_logit_scale)).log())
        self.max_logit_scale = max_logit_scale
        if self.with_decoder:
            check_blocks(score_map_blocks, len(self.network.decoder.blocks))
        self.score_map_blocks = score_map_blocks
        if num_distractors and chunk_size is not None:
            raise ValueError(
                f'num_distractors={num_distractors} takes tokens of the whole batch, of which '
                f'chunk_size={chunk_size} has a part in memory: set one of them'
            )
        self.num_distractors = num_distractors
        self._step = 0  # of training; the prompts of a step follow from it
        self.compile_options = {} if compile is True else compile or None
        self.compiled = False  # by the first `loss`: whoever only predicts needs no compiler

    # the step travels with the weights, as a tensor: safe to load
    def get_extra_state(self) -> Tensor:
        return torch.tensor(self._step)

    def set_extra_state(self, state: Tensor):
        self._step = int(state)

    def forward(
        self,
        inputs: dict,
        data_samples: list[ProductDataSample] | None = None,
        mode: str = 'tensor',
    ):
        """
        Args:
            inputs: ``images`` (B, V, 3, H, W) float32, V = 2 in training;
                ``input_ids`` and ``attention_mask`` (B, M).
            data_samples: B samples.
            mode: ``loss`` gives a dict of scalars, ``predict`` the samples
                with predictions, ``tensor`` image and text features (B, D).
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return (
                self.network.encode_image(inputs['images'][:, 0])[0],
                self.network.encode_text(inputs['input_ids'], inputs['attention_mask']),
            )
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def loss(self, inputs: dict, data_samples: list[ProductDataSample]) -> dict[str, Tensor]:
        """All terms of the objective and the figures logged beside them."""
        with torch.no_grad():  # the parameter itself: past a clamp no gradient would lead back
            self.logit_scale.clamp_(max=math.log(self.max_logit_scale))
        if self.compile_options is not None and not self.compiled:
            self.compiled = True
            compile_parts(self, **self.compile_options)
        outputs = self.extract(inputs, data_samples)
        if self.compiled:
            outputs.derive()
        terms = {}
        for name, head in self.heads.items():
            found = head(outputs)
            if terms.keys() & found.keys():
                raise KeyError(
                    f'pretext_heads.{name} returns {sorted(terms.keys() & found.keys())}'
                    ', which another head returns, too; rename them'
                )
            terms.update(found)
        check_finite(terms, data_samples)
        # from here on the step counts: what a stopped run saved does not hold half of it
        self._step += 1
        for head in self.heads.values():
            head.observe(outputs)
        if self.with_decoder:
            self.negative_queries.observe(outputs.all_text_feats.detach(), outputs.all_id_hash)
        terms['logit_scale'] = outputs.logit_scale.detach()
        if outputs.assign_maps is not None:
            terms.update(slot_health(outputs.assign_maps[-1], outputs.positive_index))
        return terms

    def extract(self, inputs: dict, data_samples: list[ProductDataSample]) -> PretrainOutputs:
        """Encoders and decoder on one training batch."""
        images, text = inputs['images'], (inputs['input_ids'], inputs['attention_mask'])
        outputs = PretrainOutputs(
            image_feats=None,  # below, as the texts'
            text_feats=None,
            id_hash=hash_product_ids([s.product_id for s in data_samples], images.device),
            logit_scale=self.logit_scale.exp(),
        )
        if self.with_decoder:
            # before the encoders: prompts are drawn on the CPU, where the gathered identities
            # would have to wait for all that a GPU was given before
            plan = self.prompts(outputs.all_id_hash, local_rows(len(images)), self._step)
            outputs.uniform, outputs.positive_index = plan.uniform, plan.positive_index
        outputs.text_feats = self.in_chunks(self.network.encode_text, *text)
        if not self.with_decoder:
            outputs.image_feats = self.in_chunks(
                lambda images: self.network.encode_image(images)[0], images[:, 0]
            )
            return outputs

        # negative prompts are conditions, not targets: only the sample's own
        # text carries gradient into the text encoder
        pool = outputs.all_text_feats.detach()
        image_pool = None
        if self.teacher is not None:
            other_feats, outputs.teacher_instance_feats = self._run_teacher(
                images[:, 1], text, plan
            )
            image_pool = gather(other_feats) if self.prompts.image_prob > 0 else None

        def encode_and_decode(images, text_feats, sources, modality, positive_index):
            image_feats, patch_tokens, _ = self.network.encode_image(images)
            prompts = pool[sources]
            own = F.one_hot(positive_index, prompts.shape[1]).bool()[..., None]
            prompts = torch.where(own, text_feats[:, None], prompts)
            if image_pool is not None:
                is_text = (modality == TEXT)[..., None]
                prompts = torch.where(is_text, prompts, image_pool[sources])
            instance_feats, assign_maps = self.network.decode(
                with_distractors(patch_tokens, self.num_distractors),
                scale_prompts(prompts),
                modality,
            )
            return image_feats, instance_feats, *assign_maps

        outputs.image_feats, outputs.instance_feats, *outputs.assign_maps = self.in_chunks(
            encode_and_decode,
            images[:, 0],
            outputs.text_feats,
            plan.sources,
            plan.modality,
            plan.positive_index,
        )
        return outputs

    @torch.no_grad()
    def _run_teacher(self, images, text, plan):
        """(B, D) features of the other pictures; (B, D) h_xi, None if no head needs it.

        Always prompted by text: an image prompt for the other picture would
        have to come from the first, one more pass of the momentum encoder.
        """
        teacher = self.teacher.network
        if not self.teacher_decodes:
            return self.in_chunks(lambda images: teacher.encode_image(images)[0], images), None
        pool = gather(self.in_chunks(teacher.encode_text, *text))

        def encode_and_decode(images, sources, positive_index):
            image_feats, patch_tokens, _ = teacher.encode_image(images)
            feats, _ = teacher.decode(
                patch_tokens, scale_prompts(pool[sources]), torch.full_like(sources, TEXT)
            )
            rows = torch.arange(len(feats), device=feats.device)
            return image_feats, F.normalize(at_least_float32(feats[rows, positive_index]), dim=-1)

        return self.in_chunks(encode_and_decode, images, plan.sources, plan.positive_index)

    def in_chunks(self, function, *inputs: Tensor):
        """:func:`in_chunks` with this model's ``chunk_size``."""
        return in_chunks(function, self.chunk_size, *inputs)

    @torch.no_grad()
    def update_teacher(self, progress: float):
        """EMA step at a share ``progress`` in [0, 1] of the training."""
        if self.teacher is not None:
            self.teacher.update(self.network, progress)

    @torch.no_grad()
    def predict(
        self, inputs: dict, data_samples: list[ProductDataSample]
    ) -> list[ProductDataSample]:
        """Writes the ``pred_*`` fields of :class:`ProductDataSample`.

        The positive query is the product's text at index 0 (Section 3.4). Of
        two pictures the second is an image prompt, and the map that it gives
        is written, too. Its feature comes from the momentum model where there
        is one, as in training: the decoder has seen no other image prompts.
        """
        image_feats, patch_tokens, grid = self.network.encode_image(inputs['images'][:, 0])
        text_feats = self.network.encode_text(inputs['input_ids'], inputs['attention_mask'])
        product_ids = [s.product_id for s in data_samples]
        instance_feats, score_maps = self.locate(patch_tokens, grid, text_feats, product_ids)
        if instance_feats is None:
            instance_feats = image_feats
        fields = dict(
            pred_image_feat=image_feats,
            pred_text_feat=text_feats,
            pred_instance_feat=instance_feats,
            pred_score_map=score_maps,
        )
        if inputs['images'].shape[1] > 1:
            network = self.network if self.teacher is None else self.teacher.network
            prompt_feats = network.encode_image(inputs['images'][:, 1])[0]
            fields['pred_image_prompt_map'] = self.locate(
                patch_tokens, grid, prompt_feats, product_ids, modality=IMAGE
            )[1]
        fields = {name: value.float().cpu() for name, value in fields.items()}
        for k, sample in enumerate(data_samples):
            sample.set_data({name: value[k] for name, value in fields.items()})
        return data_samples

    def locate(
        self,
        patch_tokens: Tensor,
        grid: tuple[int, int],
        prompt_feats: Tensor,
        product_ids: list[str],
        modality: int = TEXT,
    ) -> tuple[Tensor | None, Tensor]:
        """Where is the prompted product, and what does it look like?

        Args:
            patch_tokens: Z (B, N, D).
            grid: (h, w) with N = h * w.
            prompt_feats: (B, D) features of the positive prompts.
            product_ids: seed the negative queries.
            modality: of the positive prompts, text or image; the negatives
                count as text.

        Returns:
            L2-normalised h_0^L (B, D), None without a decoder; score map S
            (B, h, w): the positive query's column of M, or, without a
            decoder, the similarity of patch tokens and prompt.
        """
        if not self.with_decoder:
            return None, similarity_score_map(patch_tokens, prompt_feats, grid)
        id_hash = hash_product_ids(product_ids, prompt_feats.device)
        negatives = self.negative_queries(
            product_ids, id_hash, self.network.queries.num_queries - 1
        )
        prompts = torch.cat(
            [scale_prompts(prompt_feats)[:, None], negatives.to(prompt_feats)], dim=1
        )
        modalities = torch.full(prompts.shape[:2], TEXT, device=prompts.device)
        modalities[:, 0] = modality
        feats, assign_maps = self.network.decode(patch_tokens, prompts, modalities)
        return (
            F.normalize(feats[:, 0].float(), dim=-1),
            assignment_score_map(assign_maps, grid, self.score_map_blocks),
        )


def with_distractors(patch_tokens: Tensor, count: int) -> Tensor:
    """(B, N, D) -> (B, (1 + count) N, D): behind a picture's own tokens those of the next ones.

    Raises:
        ValueError: The batch has no ``count`` other pictures.
    """
    if count >= len(patch_tokens):
        raise ValueError(
            f'num_distractors={count} needs more pictures than the {len(patch_tokens)} of the '
            'batch; lower it or raise train_dataloader.batch_size'
        )
    return torch.cat([patch_tokens.roll(-k, dims=0) for k in range(count + 1)], dim=1)


def check_head_names(pretext_heads: dict) -> None:
    """``intr=None`` would switch nothing off, silently.

    Raises:
        KeyError: a name set to None that looks like a misspelt task.
    """
    for name, cfg in pretext_heads.items():
        close = difflib.get_close_matches(name, TASKS, n=1)
        if cfg is None and name not in TASKS and close:
            raise KeyError(
                f'pretext_heads.{name}=None switches nothing off: did you mean {close[0]!r}?'
            )


def hash_product_ids(product_ids: list[str], device) -> Tensor:
    """(B,) int64, equal for equal product_ids, the same in every process."""
    ids = [i.encode() for i in product_ids]
    return torch.tensor([zlib.crc32(i) << 31 ^ zlib.adler32(i) for i in ids], device=device)
