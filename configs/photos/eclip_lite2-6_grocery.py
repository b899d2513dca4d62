# The last 6 of the image tower's 21 blocks are trained, from a cache of the 15 below.
#   python tools/cache_features.py configs/photos/eclip_lite2-6_grocery.py
_base_ = 'eclip_lite2_grocery.py'
feature_cache = dict(folder='work_dirs/cache_grocery_16')
model = dict(freeze=dict(image=16))  # embeddings and 15 blocks
optim_wrapper = dict(optimizer=dict(lr=5e-4))
