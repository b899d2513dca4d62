# Grounding on the snacks: the prompt is a product's name or a cut-out of it from the other video
# (`_image_prompt`), and the answer is its box in a frame of the video that was kept out of
# training. Candidates are the boxes of all annotated objects (analysis only), regions of the
# picture (`_regions`), or boxes cut from the score map (`_map_boxes`).
#   S=.../snacks
#   python tools/dataset_converters/coco.py $S/annotations/val.json $S/images \
#       data/snacks/val.parquet --products $S/products.json --max-size 320
#   python tools/dataset_converters/coco.py $S/annotations/train.json $S/images \
#       data/snacks/train.parquet --products $S/products.json --pictures both --max-size 192
#   python tools/test.py configs/evaluation/snacks_grounding.py CHECKPOINT
_base_ = ['../_base_/default_runtime.py', '../_base_/evaluation.py']

data_root = 'data/snacks/'
test_dataloader = dict(
    dataset=dict(
        type='ProductImageDataset',
        catalogue=data_root + 'val.parquet',
        split='val',
        prompt_sources=['crop'],
        prompt_catalogue=data_root + 'train.parquet',
    )
)
test_evaluator = [
    dict(
        type='ProductGrounding',
        split='val',
        score_map=score_map,
        candidates=candidates,
        prefix='val' + by + among,
        num_bootstrap=1000,
    )
    for by, score_map in (('', 'pred_score_map'), ('_image_prompt', 'pred_image_prompt_map'))
    for among, candidates in (
        ('', 'objects'),
        ('_regions', dict(type='RegionProposer')),
        ('_map_boxes', dict(type='ScoreMapProposer', score_map=score_map)),
    )
]
