# ViT-L/16 with weights, gradients and optimiser state divided over the GPUs (FSDP2, torch >= 2.6).
# Checkpoints are those of an undivided model: tools/test.py takes them as they are, and a run may
# go on with or without this file.
_base_ = 'eclip_vitl16.py'
runner_type = 'ShardedRunner'
# activations of a layer are computed again in its backward pass; texts go through in one group,
# since each would gather the weights anew
model = dict(
    image_encoder=dict(gradient_checkpointing=True),
    text_encoder=dict(gradient_checkpointing=True, length_groups=1),
)
