"""A checkpoint whose training began from folders that are gone by now."""

import json
import shutil

import pytest

from eclip_mm.datasets import CatalogueWordPiece
from eclip_mm.models.encoders import TransformersImageEncoder, TransformersTextEncoder

TOWER = dict(hidden_size=32, num_attention_heads=2, intermediate_size=64, num_hidden_layers=1)
# the folders tell the whole architecture and the words, the config nothing of it
CONFIG = """
_base_ = 'tiny.py'
model = dict(
    image_encoder=dict(
        _delete_=True, type='TransformersImageEncoder', pretrained={vit!r}),
    text_encoder=dict(_delete_=True, type='TransformersTextEncoder', pretrained={bert!r}))
tokenizer = dict(type='AutoTokenizer', name_or_path={bert!r})
train_pipeline, test_pipeline = [
    [dict(t, tokenizer=tokenizer) if t['type'] == 'TokenizeText' else t for t in pipeline]
    for pipeline in (_base_.train_pipeline, _base_.test_pipeline)]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(
    dataset=dict(
        _delete_=True, type='ProductImageDataset', catalogue={data!r} + '/photos.parquet',
        split='photos', sources=['comment', 'video'], pipeline=test_pipeline))
val_dataloader = test_dataloader
val_evaluator = [
    dict(type=metric, split='photos', prefix='photos')
    for metric in ('ProductRetrieval', 'ProductGrounding')]
test_evaluator = val_evaluator
train_cfg = dict(max_epochs={epochs})
"""


pytestmark = pytest.mark.slow


def test_neither_pretrained_folder_nor_vocabulary_is_needed(workplace):
    folder, tools = workplace.folder / 'from_pretrained', workplace.root / 'tools'
    folder.mkdir()
    vit, bert = folder / 'vit', folder / 'bert'
    words = CatalogueWordPiece(workplace.data / 'train.parquet', 250, folder / 'words.txt')
    config = dict(TOWER, image_size=32, patch_size=8)
    TransformersImageEncoder('vit', config).model.save_pretrained(vit)
    config = dict(TOWER, vocab_size=words.vocab_size, max_position_embeddings=60)
    TransformersTextEncoder('bert', config).model.save_pretrained(bert)
    (bert / 'vocab.txt').write_text((folder / 'words.txt').read_text())
    (bert / 'tokenizer_config.json').write_text('{"tokenizer_class": "BertTokenizer"}')

    def write(epochs):
        path = workplace.folder / 'from_pretrained.py'
        path.write_text(
            CONFIG.format(vit=str(vit), bert=str(bert), data=str(workplace.data), epochs=epochs)
        )
        return path

    run = workplace.folder / 'run'
    workplace.train('run', config=write(1))
    shutil.rmtree(folder)
    assert 'resumed epoch: 1, iter: 8' in workplace.train('run', '--resume', config=write(2))
    # a checkpoint of the training that went on stands alone as well
    workplace.train('run', '--resume', config=write(3))

    checkpoint = run / 'iter_24.pth'
    tables = (tools.parent / 'configs/evaluation/tables.py', checkpoint)
    tests = dict(
        own=(write(3), checkpoint),
        tables=(*tables, '--catalogue', workplace.data / 'photos.parquet'),
    )
    for name, args in tests.items():
        workplace.run(name, tools / 'test.py', *args, '--work-dir', run / name)
    last = sorted(run.glob('*/vis_data/scalars.json'))[-1]
    seen = [json.loads(line) for line in last.read_text().splitlines() if 'right_box' in line][-1]
    own, tables = (json.loads((run / name / 'metrics.json').read_text()) for name in tests)
    for ours, theirs in (('table2/fine_R@1', 'fine_R@1'), ('table4/right_box', 'right_box')):
        assert own[f'photos/{theirs}'] == tables[ours] == seen[f'photos/{theirs}']
