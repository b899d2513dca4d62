# Tables 1 and 2 on phone photos of 81 grocery products, from pretrained towers, both frozen.
# See photos_snacks.py for the commands.
title = 'GroceryStore: Tables 1 and 2'
notes = 'photos_grocery_notes.md'
seeds = [0, 1, 2, 3, 4]
_photos = '../photos/'
_eclip = _photos + 'eclip_lite2_grocery.py'
runs = {
    'clip': _photos + 'clip_lite2_grocery.py',
    'eclip': _eclip,
}
tables = [
    dict(
        title='Table 1: classification into 81 products and 43 categories, image-text retrieval',
        columns={
            'val/product_top1': 'products: Acc@1',
            'val/product_top5': 'products: Acc@5',
            'val/category_top1': 'categories: Acc@1',
            'val/i2t_R@1': 'image to text R@1',
            'val/t2i_R@1': 'text to image R@1',
        },
        rows=[
            dict(run='clip', label='CLIP', paper=[None, None, 37.2, 52.6, 58.7]),
            dict(run='eclip', label='ECLIP', paper=[None, None, 43.8, 53.8, 59.9]),
        ],
    ),
    dict(
        title='Table 2: coarse (category) and fine (product) retrieval among held-out photos',
        columns={
            'val/m5_mAP@1': 'coarse mAP@1',
            'val/fine_R@1': 'fine R@1',
            'neutral/m5_mAP@1': 'coarse mAP@1, one neutral prompt for all',
            'neutral/fine_R@1': 'fine R@1, neutral prompt',
            'val_image/m5_mAP@1': 'coarse mAP@1, image feature',
            'val_image/fine_R@1': 'fine R@1, image feature',
        },
        rows=[
            dict(run='clip', label='CLIP', paper=[68.2, 34.8, None, None, None, None]),
            dict(run='eclip', label='ECLIP', paper=[69.6, 44.3, None, None, None, None]),
        ],
    ),
]
claims = [
    dict(claim='eclip > clip on val/category_top1', paper='Table 1: 43.8 > 37.2'),
    dict(claim='eclip > clip on val/product_top1', paper='Table 1, by category: 43.8 > 37.2'),
    dict(claim='eclip > clip on val/fine_R@1', paper='Table 2: 44.3 > 34.8'),
    dict(claim='eclip > clip on neutral/fine_R@1', paper='none: what the title gives away'),
    dict(claim='eclip > clip on val_image/fine_R@1', paper='none'),
    dict(claim='eclip > clip on val/m5_mAP@1', paper='Table 2: 69.6 > 68.2'),
]
