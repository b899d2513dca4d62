"""ECLIP: instance-centric vision-language pretraining (CVPR 2023)."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.chunked import check_chunk_size, in_chunks
from eclip_mm.models.decoders import IMAGE, TEXT, scale_prompts
from eclip_mm.models.embed_dims import with_embed_dims
from eclip_mm.models.heads import PretextHeads
from eclip_mm.models.instance_network import InstanceNetwork
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.models.product_ids import hash_product_ids
from eclip_mm.models.prompts import PromptPool
from eclip_mm.models.score_map import assignment_score_map, check_blocks, similarity_score_map
from eclip_mm.models.slot_health import slot_health
from eclip_mm.models.stepwise import StepwiseModel
from eclip_mm.registry import MODELS
from eclip_mm.structures import ProductDataSample
from eclip_mm.utils.dist import gather, gather_on_host, local_rows
from eclip_mm.utils.finite import LossCheck


@MODELS.register_module()
class ECLIP(StepwiseModel):
    """Image and text encoder, instance decoder and pretext tasks.

    Training, for each product with a text and pictures x, x' from two sources::

        x  -> image encoder -> g_I(v_cls), Z      text -> text encoder -> g_T(w_cls)
        Z, prompts of T products -> instance decoder -> H^L, M
        x' -> momentum model  -> h_xi, image prompts
        heads(PretrainOutputs) -> losses

    A decoder and a momentum model that no head needs are not built; without
    decoder the model is CLIP.

    Args:
        image_encoder, text_encoder: encoder configs.
        queries: instance queries (Eq. 1).
        decoder: instance decoder (Eq. 2-5).
        prompts: how training draws prompts.
        negative_queries: the T-1 negatives of the transfer stage.
        momentum: the EMA teacher.
        pretext_heads: name -> head config; None switches the task off.
        embed_dims: joint width D of all parts, whose configs do not repeat it.
        init_logit_scale: 1 / tau at the start; its logarithm is learned. None
            for that of ``pretrained_dual``, or 1 / 0.07.
        max_logit_scale: upper limit of 1 / tau, raised to that of a dual encoder.
        init_logit_bias: for losses that add a bias to the logits, which the
            heads here do not. None for that of ``pretrained_dual``.
        score_map_blocks: decoder blocks whose assignments make the score map:
            ``last``, ``mean`` or a list of indices.
        chunk_size: number of products whose activations are in memory at a
            time, see :func:`in_chunks`; None for all at once.
        num_distractors: number of other pictures whose patch tokens join a
            picture's own in training, see :func:`with_distractors`; 0 for
            photos of several products.
        network_options: ``pretrained_dual``, ``projections``,
            ``patch_projection``, ``freeze`` and ``lora`` of :class:`InstanceNetwork`.

    Raises:
        ValueError: all tasks are off, a part has another ``embed_dims``, or
            ``score_map_blocks`` or ``chunk_size`` do not fit the parts.
    """

    #: class of the network; subclasses with other features have another one
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
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        init_logit_bias: float | None = None,
        **network_options,
    ):
        data_preprocessor = data_preprocessor or dict(type='ProductDataPreprocessor')
        super().__init__(MODELS.build(data_preprocessor), init_cfg)
        self.heads = PretextHeads(pretext_heads, embed_dims)
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
        check_chunk_size(chunk_size, self.network, num_distractors)
        self.chunk_size = chunk_size
        self.num_distractors = num_distractors
        self.prompts = self.negative_queries = self.teacher = None
        self.teacher_decodes = any(head.needs_teacher for head in self.heads.values())
        self.score_map_blocks = score_map_blocks
        if self.with_decoder:
            check_blocks(score_map_blocks, len(self.network.decoder.blocks))
            num_queries = self.network.queries.num_queries
            self.prompts = MODELS.build(dict(prompts, num_queries=num_queries))
            negative_queries = with_embed_dims(negative_queries, embed_dims, 'negative_queries')
            self.negative_queries = MODELS.build(negative_queries)
            if self.teacher_decodes or self.prompts.image_prob > 0:
                self.teacher = MODELS.build(dict(momentum, network=self.network))
        if init_logit_scale is None:
            init_logit_scale = self.network.init_logit_scale
            max_logit_scale = max(max_logit_scale, init_logit_scale)
        self.init_logit_scale, self.max_logit_scale = init_logit_scale, max_logit_scale
        self.logit_scale = nn.Parameter(torch.tensor(float(init_logit_scale)).log())
        bias = self.network.init_logit_bias if init_logit_bias is None else init_logit_bias
        self.register_buffer('logit_bias', None if bias is None else torch.tensor(float(bias)))
        self.compiled = False  # compile_parts() sets it

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
            text = inputs['input_ids'], inputs['attention_mask']
            image_feats = self.network.encode_image_feats(inputs['images'][:, 0])
            return image_feats, self.network.encode_text(*text)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def loss(self, inputs: dict, data_samples: list[ProductDataSample]) -> dict[str, Tensor]:
        """All terms of the objective, and the figures that are logged with them."""
        self.finish_step()  # the previous one, unless a hook has finished it
        with torch.no_grad():  # on the parameter: a clamp of its value would stop the gradient
            self.logit_scale.clamp_(max=math.log(self.max_logit_scale))
        outputs = self.extract(inputs, data_samples)
        if self.compiled:
            outputs.derive()
        terms = self.heads(outputs)
        self.leave_step_open(self.effects_of(outputs), LossCheck(terms, data_samples))
        terms['logit_scale'] = outputs.logit_scale.detach()
        if outputs.assign_maps is not None:
            terms.update(slot_health(outputs.assign_maps[-1], outputs.positive_index))
        return terms

    def extract(self, inputs: dict, data_samples: list[ProductDataSample]) -> PretrainOutputs:
        """Encoders and decoder on one training batch."""
        images, text = inputs['images'], (inputs['input_ids'], inputs['attention_mask'])
        host_ids = hash_product_ids([s.product_id for s in data_samples])
        id_hash = host_ids.to(images.device, non_blocking=True)
        if not self.with_decoder:
            return PretrainOutputs(
                text_feats=self.in_chunks(self.network.encode_text, *text),
                image_feats=self.in_chunks(self.network.encode_image_feats, images[:, 0]),
                id_hash=id_hash,
                logit_scale=self.logit_scale.exp(),
            )
        # identities stay on the host, where prompts are drawn: a GPU's would have to wait for
        # everything that it was given before
        host_ids = gather_on_host(host_ids)
        all_id_hash = host_ids.to(images.device, non_blocking=True)
        plan = self.prompts(host_ids, local_rows(len(images)), self.num_steps, images.device)

        text_feats = self.in_chunks(self.network.encode_text, *text)
        all_text_feats = gather(text_feats)
        other_image_feats = teacher_instance_feats = None
        if self.teacher_decodes:
            other_image_feats, teacher_instance_feats = self.teacher.encode_instances(
                images[:, 1], text, plan, self.chunk_size
            )
        elif self.teacher is not None:
            other_image_feats = self.teacher.encode_image_feats(images[:, 1], self.chunk_size)
        image_pool = gather(other_image_feats) if self.prompts.image_prob > 0 else None
        pool = PromptPool(all_text_feats.detach(), image_pool)
        image_feats, instance_feats, *assign_maps = self.in_chunks(
            partial(self.encode_and_decode, pool),
            images[:, 0],
            text_feats,
            plan.sources,
            plan.modality,
            plan.positive_index,
        )
        return PretrainOutputs(
            image_feats=image_feats,
            text_feats=text_feats,
            id_hash=id_hash,
            logit_scale=self.logit_scale.exp(),
            all_text_feats=all_text_feats,
            all_id_hash=all_id_hash,
            random_draws=plan.random_draws,
            instance_feats=instance_feats,
            assign_maps=assign_maps,
            positive_index=plan.positive_index,
            teacher_instance_feats=teacher_instance_feats,
        )

    def encode_and_decode(
        self,
        pool: PromptPool,
        images: Tensor,
        text_feats: Tensor,
        sources: Tensor,
        modality: Tensor,
        positive_index: Tensor,
    ) -> tuple[Tensor, ...]:
        """From x and prompts to g_I(v_cls), H^L and the M of each block, for a chunk of rows."""
        prompts = pool.prompts(text_feats, sources, modality, positive_index)
        image_feats, instance_feats, assign_maps = self.network.encode_and_decode(
            images, prompts, modality, self.num_distractors
        )
        return image_feats, instance_feats, *assign_maps

    def in_chunks(self, function, *inputs: Tensor):
        return in_chunks(function, self.chunk_size, *inputs)

    def effects_of(self, outputs: PretrainOutputs) -> list[Callable[[], None]]:
        """What the step leaves for later ones: rows of a queue, texts for negative queries."""
        effects = [head.remember(outputs) for head in self.heads.values()]
        if self.with_decoder:
            texts = outputs.all_text_feats.detach()
            effects.append(partial(self.negative_queries.observe, texts, outputs.all_id_hash))
        return [effect for effect in effects if effect is not None]

    def begin_training(self) -> None:
        super().begin_training()
        for head in self.heads.values():
            head.forget()
        if self.with_decoder:
            self.negative_queries.forget()
        if self.teacher is not None:
            self.teacher.network.load_state_dict(self.network.state_dict())

    @torch.no_grad()
    def update_teacher(self, progress: float):
        """Move the momentum model.

        Args:
            progress: completed fraction of the training, in [0, 1].
        """
        if self.teacher is not None:
            self.teacher.update(self.network, progress)

    @torch.no_grad()
    def predict(
        self, inputs: dict, data_samples: list[ProductDataSample]
    ) -> list[ProductDataSample]:
        """Write the ``pred_*`` fields of :class:`ProductDataSample`.

        The positive query is the product's text at index 0 (Section 3.4). If a
        sample has two pictures, the second is an image prompt, and its map is
        written as well. The feature of an image prompt comes from the momentum
        model if there is one, as in training: the decoder has seen no others.
        """
        image_feats, patch_tokens, grid = self.network.encode_image(inputs['images'][:, 0])
        text_feats = self.network.encode_text(inputs['input_ids'], inputs['attention_mask'])
        instance_feats, score_maps = self.locate(patch_tokens, grid, text_feats)
        if instance_feats is None:
            instance_feats = image_feats
        fields = dict(
            pred_image_feat=image_feats,
            pred_text_feat=text_feats,
            pred_instance_feat=instance_feats,
            pred_score_map=score_maps,
        )
        if inputs['images'].shape[1] > 1:
            network = self.network if self.teacher is None else self.teacher
            prompt_feats = network.encode_image_feats(inputs['images'][:, 1])
            found = self.locate(patch_tokens, grid, prompt_feats, modality=IMAGE)
            fields['pred_image_prompt_map'] = found[1]
        fields = {name: value.float().cpu() for name, value in fields.items()}
        for k, sample in enumerate(data_samples):
            sample.set_data({name: value[k] for name, value in fields.items()})
        return data_samples

    def locate(
        self,
        patch_tokens: Tensor,
        grid: tuple[int, int],
        prompt_feats: Tensor,
        modality: int = TEXT,
    ) -> tuple[Tensor | None, Tensor]:
        """Find the prompted product in each picture and represent it.

        Args:
            patch_tokens: Z (B, N, D).
            grid: (h, w) with N = h * w.
            prompt_feats: (B, D) features of the positive prompts.
            modality: of the positive prompts, text or image. The negative
                prompts count as text.

        Returns:
            L2-normalised h_0^L (B, D), None without a decoder; score map S
            (B, h, w): the positive query's column of M, or, without a
            decoder, the similarity of patch tokens and prompt.
        """
        if not self.with_decoder:
            return None, similarity_score_map(patch_tokens, prompt_feats, grid)
        num_negatives = self.network.queries.num_queries - 1
        negatives = self.negative_queries(num_negatives, patch_tokens, prompt_feats)
        prompts = torch.cat([scale_prompts(prompt_feats)[:, None], negatives], dim=1)
        modalities = torch.full(prompts.shape[:2], TEXT, device=prompts.device)
        modalities[:, 0] = modality
        feats, assign_maps = self.network.decode(patch_tokens, prompts, modalities)
        score_map = assignment_score_map(assign_maps, grid, self.score_map_blocks)
        return F.normalize(feats[:, 0].float(), dim=-1), score_map
