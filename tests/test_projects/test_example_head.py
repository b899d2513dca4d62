"""projects/example_head: the loss by hand, and the head in a whole training."""

import math

import pytest
import torch

from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from helpers.figures import logged


@pytest.fixture(scope='module')
def project(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        from projects.example_head import sigmoid_head

        yield sigmoid_head


def test_the_loss_by_hand(project):
    logits = torch.tensor([[2.0, -1.0], [0.5, -3.0]])
    none = torch.zeros(2, 2, dtype=torch.bool)
    # questions of image 0: yes to text 0, no to text 1; of image 1: no to 0, yes to 1
    expected = (
        math.log(1 + math.exp(-2))
        + math.log(1 + math.exp(-1))
        + math.log(1 + math.exp(0.5))
        + math.log(1 + math.exp(3))
    ) / 2
    loss = project.sigmoid_contrastive_loss(logits, torch.tensor([0, 1]), none)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_other_rows_of_the_product_are_left_out(project):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, generator=g, requires_grad=True)
    targets = torch.tensor([0, 1, 3])
    ignore = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.bool)
    loss = project.sigmoid_contrastive_loss(logits, targets, ignore)
    total = 0.0
    for i, row in enumerate(logits.tolist()):
        for j, value in enumerate(row):
            z = 1 if j == targets[i] else -1
            if (i, j) != (0, 2):  # the targets count although `ignore` holds them
                total -= math.log(1 / (1 + math.exp(-z * value)))
    assert loss.item() == pytest.approx(total / 3, abs=1e-6)
    loss.backward()
    assert logits.grad[0, 2] == 0 and (logits.grad != 0).sum() == 11


def test_the_head_scales_shifts_and_weighs(project):
    eye = torch.eye(2)
    outputs = PretrainOutputs(
        image_feats=eye,
        text_feats=eye,
        id_hash=torch.tensor([5, 6]),
        logit_scale=torch.tensor(99.0),
    )
    head = MODELS.build(dict(type='SigmoidHead', loss_weight=2.0, init_scale=4.0, init_bias=-1.0))
    terms = head.loss(outputs)
    # matches: 4 - 1, others: -1
    expected = 2 * (math.log(1 + math.exp(-3)) + math.log(1 + math.exp(-1)))
    assert terms['loss_sigmoid'].item() == pytest.approx(expected, abs=1e-6)
    assert terms['sigmoid_acc'] == 1


def test_it_takes_the_place_of_a_pretext_task(project):
    cfg = tiny_model_config()
    cfg['pretext_heads'].update(itc=None, mine=dict(type='SigmoidHead'))
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    terms = model(**model.data_preprocessor(fake_batch()), mode='loss')
    assert 'loss_sigmoid' in terms and 'loss_itc' not in terms and 'loss_intra' in terms
    terms['loss_sigmoid'].backward()
    for name in (
        'heads.mine.log_scale',
        'heads.mine.bias',
        'network.image_proj.weight',
        'network.text_proj.weight',
    ):
        assert model.get_parameter(name).grad.abs().sum() > 0, name
    with pytest.raises(TypeError, match='init_skale'):
        MODELS.build(dict(type='SigmoidHead', init_skale=1.0))


@pytest.mark.slow
def test_its_config_trains(workplace):
    config = workplace.shrink(
        workplace.root / 'projects/example_head/eclip_tiny_sigmoid.py', 'sigmoid.py'
    )
    workplace.train('sigmoid', '--cfg-options', 'train_cfg.max_epochs=1', config=config)
    folder = workplace.folder / 'sigmoid'
    steps = [row for row in logged(folder) if 'loss' in row]
    assert len(steps) == 8
    assert all('loss_sigmoid' in row and 'loss_itc' not in row for row in steps)
    weights = torch.load(folder / 'iter_8.pth', weights_only=True)['state_dict']
    assert weights['heads.mine.bias'] != -10 and weights['heads.mine.bias'].isfinite()
