# Classification and retrieval of phone photos with the last 6 of the image tower's 21 blocks
# trained.
#   python tools/cache_features.py configs/photos/eclip_lite2-6_grocery.py --jobs 2 --num-workers 0
#   python tools/compare.py configs/comparison/photos_layers_grocery.py --jobs 2
_base_ = 'photos_grocery.py'
title = 'GroceryStore, the last 6 of 21 blocks trained'
notes = None
_photos = '../photos/'
runs = dict(
    _delete_=True,
    clip=_photos + 'clip_lite2-6_grocery.py',
    eclip=_photos + 'eclip_lite2-6_grocery.py',
)
