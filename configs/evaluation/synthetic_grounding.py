# Table 4, left, on the generated catalogue. The prompt is the product's text or its merchant
# picture (`_image_prompt`). Candidates are the boxes of all annotated objects (analysis only),
# regions of the picture (`_regions`), or boxes cut from the score map (`_map_boxes`).
#   python tools/test.py configs/evaluation/synthetic_grounding.py CHECKPOINT
# tools/demo.py generates the catalogue, as configs/demo/eclip_tiny_synthetic.py describes it.
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
