# Table 4, left, on the generated catalogue: prompted by text, and by the product's merchant
# picture (`_image_prompt`); among the boxes of all annotated objects (analysis only), regions of
# the picture (`_regions`), and parts of the score map alone (`_map_boxes`).
#   python tools/test.py configs/evaluation/synthetic_grounding.py CHECKPOINT
# The catalogue is that of configs/demo/eclip_tiny_synthetic.py, made by tools/demo.py.
_base_ = 'synthetic.py'

prompts = _base_.classes  # split -> catalogue with its merchant pictures
test_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(part, prompt_sources=['merchant'], prompt_catalogue=prompts[part['split']])
            for part in _base_.test_dataloader.dataset.datasets
            if part['split'] in prompts
        ]
    )
)
test_evaluator = [
    dict(
        type='ProductGrounding',
        split=split,
        score_map=score_map,
        candidates=candidates,
        prefix=split + by + among,
        num_bootstrap=1000,
    )
    for split in prompts
    for by, score_map in (('', 'pred_score_map'), ('_image_prompt', 'pred_image_prompt_map'))
    for among, candidates in (
        ('', 'objects'),
        ('_regions', dict(type='RegionProposer')),
        ('_map_boxes', dict(type='ScoreMapProposer', score_map=score_map)),
    )
]
