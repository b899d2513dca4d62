"""The programs that draw from a checkpoint, started as a user does."""

import pytest
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('runs')]


def test_pictures_of_a_checkpoint(workplace, trained):
    tools, folder = workplace.root / 'tools/analysis_tools', workplace.folder
    model = (workplace.config, trained / 'iter_16.pth')
    catalogue = workplace.data / 'photos.parquet'
    logs = {
        name: workplace.run(name, tools / f'{name}.py', *args)
        for name, args in dict(
            draw_score_maps=(*model, folder / 'maps.png', '--num', 3, '--ranked', 2),
            draw_retrieval=(*model, folder / 'found.png', '--num', 2, '--protocol', 'm5'),
            draw_tsne=(
                *(folder / 'tsne.png', '--catalogue', catalogue, '--products', 6),
                *('--model', 'one', *model, '--model', 'two', *model),
            ),
        ).items()
    }
    for name in ('maps', 'found_photos', 'found_products', 'tsne'):
        with Image.open(folder / f'{name}.png') as image:
            assert min(image.size) > 150, name
    assert 'maps.png: 3 of' in logs['draw_score_maps']
    assert 'found_photos.png: 2 queries among' in logs['draw_retrieval']
    one, two = (
        next(line for line in logs['draw_tsne'].splitlines() if line.startswith(name)).split()[1:]
        for name in ('one ', 'two ')
    )
    assert one == two and len(one) == 3
