# Adds to configs/evaluation/snacks_grounding.py the proposals of an RPN (`_rpn`), which
# configs/detection/rpn_eclip_tiny_snacks.py trains, and the recall of the prompted products' boxes
# among the first 10, 50 and 100 candidates of each kind. RPN names the work dir of the RPN.
#   RPN=work_dirs/rpn_eclip_tiny_snacks python tools/test.py \
#       configs/detection/grounding/snacks.py CHECKPOINT
_base_ = '../../evaluation/snacks_grounding.py'
custom_imports = dict(imports=['eclip_mm.evaluation.proposals.mmdet_proposer'])

rpn = dict(
    type='MMDetProposer',
    config='{{$RPN:work_dirs/rpn_eclip_tiny_snacks}}/rpn_eclip_tiny_snacks.py',
    checkpoint='{{$RPN:work_dirs/rpn_eclip_tiny_snacks}}/epoch_12.pth',
)
test_evaluator = _base_.test_evaluator
test_evaluator += [
    dict(
        type='ProductGrounding',
        split='val',
        score_map=score_map,
        candidates=rpn,
        prefix='val' + by + '_rpn',
        num_bootstrap=1000,
    )
    for by, score_map in (('', 'pred_score_map'), ('_image_prompt', 'pred_image_prompt_map'))
]
test_evaluator += [
    dict(type='CandidateRecall', split='val', candidates=candidates, prefix='val' + among)
    for among, candidates in (
        ('_regions', dict(type='RegionProposer')),
        ('_map_boxes', dict(type='ScoreMapProposer')),
        ('_rpn', rpn),
    )
]
