# For `eclip-mm embed configs/embed.py CHECKPOINT CATALOGUE OUT`: the model and the way of its
# pictures and texts come from the checkpoint, and the catalogue from the command.
_base_ = '_base_/default_runtime.py'

test_dataloader = dict(dataset=dict(type='ProductImageDataset', catalogue='of the command'))
test_evaluator = []
