# ViT-L/16 with weights, gradients and optimiser state sharded over the GPUs (FSDP2, torch >= 2.6).
# Checkpoints are those of an unsharded model: tools/test.py takes them as they are, and a run can
# be resumed with or without sharding.
_base_ = 'eclip_vitl16.py'
runner_type = 'ShardedRunner'
# activations of a layer are recomputed in its backward pass; texts are encoded in one group, since
# every further group would gather the weights again
model = dict(
    image_encoder=dict(gradient_checkpointing=True),
    text_encoder=dict(gradient_checkpointing=True),
)
