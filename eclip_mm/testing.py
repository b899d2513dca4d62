"""A tiny model and fake batches, for our tests and for those of your own components."""

import os
import sys

import torch

from eclip_mm.structures import ProductDataSample


def tiny_model_config(
    embed_dims: int = 32,
    num_queries: int = 4,
    num_blocks: int = 2,
    image_size: int = 32,
    **overrides,
) -> dict:
    """Config of an ECLIP whose steps take milliseconds.

    Args:
        embed_dims: joint width D, and width of both encoders.
        num_queries: T.
        num_blocks: L.
        image_size: side of the pictures in pixels; patches are 8 pixels.
        overrides: top-level arguments of ``ECLIP`` that replace those here.
    """
    tower = dict(
        hidden_size=embed_dims,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=2 * embed_dims,
    )
    cfg = dict(
        type='ECLIP',
        embed_dims=embed_dims,
        image_encoder=dict(
            type='TransformersImageEncoder',
            model_type='vit',
            config=dict(**tower, image_size=image_size, patch_size=8),
        ),
        text_encoder=dict(
            type='TransformersTextEncoder',
            model_type='bert',
            config=dict(
                **tower,
                vocab_size=100,
                max_position_embeddings=64,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            ),
        ),
        queries=dict(type='InstanceQueries', num_queries=num_queries),
        decoder=dict(type='InstanceDecoder', num_blocks=num_blocks, num_heads=4, ffn_ratio=2),
        prompts=dict(type='PromptSampler'),
        negative_queries=dict(type='GaussianNegatives'),
        momentum=dict(type='MomentumTeacher'),
        pretext_heads=dict(
            itc=dict(type='ITCHead'),
            inter=dict(type='InterProductHead'),
            itm=dict(type='ITMHead'),
            intra=dict(type='IntraProductHead', entropy=dict(type='AssignmentEntropyLoss')),
        ),
    )
    cfg.update(overrides)
    return cfg


def fake_batch(
    batch_size: int = 6,
    num_images: int = 2,
    image_size: int = 32,
    num_tokens: int = 7,
    vocab_size: int = 100,
    seed: int = 0,
) -> dict:
    """A batch as ``collate_products`` makes it, with random content.

    Args:
        batch_size: B products, all different.
        num_images: V pictures of each product.
        image_size: side of the pictures in pixels.
        num_tokens: M; texts have 3 to M tokens.
        vocab_size: upper limit of the token ids, exclusive.
        seed: of the content.

    Returns:
        ``inputs`` with uint8 ``images`` (B, V, 3, H, W), ``input_ids`` and
        ``attention_mask`` (B, M); ``data_samples`` with one box each.
    """
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(
        256, (batch_size, num_images, 3, image_size, image_size), generator=g
    ).to(torch.uint8)
    ids = torch.randint(3, vocab_size, (batch_size, num_tokens), generator=g)
    lengths = torch.randint(3, num_tokens + 1, (batch_size,), generator=g)
    mask = (torch.arange(num_tokens) < lengths[:, None]).long()
    samples = []
    for k in range(batch_size):
        sample = ProductDataSample(
            metainfo=dict(
                product_id=f'p{seed}-{k}',
                text=f'product {k}',
                category=f'c{k % 2}',
                sources=('merchant', 'comment')[:num_images],
                image_ids=tuple(f'p{seed}-{k}#{v}' for v in range(num_images)),
                ori_shape=(image_size, image_size),
                img_shape=(image_size, image_size),
                split='',
                object_product_ids=(f'p{seed}-{k}', 'other'),
            )
        )
        half = image_size / 2
        sample.gt_bboxes = torch.tensor([[0, 0, half, half]])
        sample.object_bboxes = torch.tensor([[0, 0, half, half], [half, half, 2 * half, 2 * half]])
        samples.append(sample)
    return dict(
        inputs=dict(images=images, input_ids=ids * mask, attention_mask=mask), data_samples=samples
    )


def end_rank() -> None:
    """End a spawned process of a test that has passed.

    On a busy machine, threads of gloo may outlive the interpreter and abort the process
    ("terminate called without an active exception"). This function therefore leaves without
    shutting the interpreter down.
    """
    torch.distributed.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)
