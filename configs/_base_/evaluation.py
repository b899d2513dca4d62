# The base of the configs under configs/evaluation. It has no model: the checkpoint provides the
# model, the pipeline of the data sets and the tokenizer of the class prompts.
test_dataloader = dict(
    batch_size=100,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='collate_products'),
)
test_cfg = dict(type='ProductTestLoop')
custom_hooks = [dict(type='ClassPromptHook')]
