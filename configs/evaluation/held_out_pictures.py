# Pictures that were kept out of training search the pictures of training, on any catalogue: how
# well are the products recognised in new photos?
#   python tools/dataset_converters/split.py my/catalogue.parquet --by picture
#   (training on my/catalogue_train.parquet)
#   python tools/test.py configs/evaluation/held_out_pictures.py CHECKPOINT \
#       --catalogue my/catalogue_train.parquet --queries my/catalogue_val.parquet
# Rows: `image`, the picture alone; `instance`, prompted by the product's own title as in the
# paper, which gives some of the answer; `instance_neutral`, prompted by one text for all. The
# difference of the last two is what the titles give away.
_base_ = ['../_base_/default_runtime.py', '../_base_/evaluation.py']

neutral = 'a product'
test_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='ProductImageDataset',
                catalogue=catalogue,
                split=split + prompt,
                prompt_text=text,
            )
            for prompt, text in (('', None), ('_neutral', neutral))
            for split, catalogue in (('queries', '--queries'), ('gallery', None))
        ],
    )
)
test_evaluator = [
    dict(
        type='ProductRetrieval',
        protocol=protocol,
        query_split='queries' + prompt,
        gallery_split='gallery' + prompt,
        feature=feature,
        prefix=prefix,
        num_bootstrap=1000,
    )
    for protocol in ('fine', 'm5')
    for prefix, feature, prompt in (
        ('image', 'pred_image_feat', ''),
        ('instance', 'pred_instance_feat', ''),
        ('instance_neutral', 'pred_instance_feat', '_neutral'),
    )
]
