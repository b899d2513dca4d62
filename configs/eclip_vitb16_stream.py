# Streams the catalogue: of any size, on any fsspec file system, without an index (docs/data.md).
_base_ = 'eclip_vitb16.py'
train_dataloader = dict(
    sampler=None,  # the stream has its own order
    dataset=dict(
        _delete_=True,
        type='ProductStream',
        catalogue='data/catalogue/train',  # a folder of .parquet files; may be s3://... or gs://...
        pipeline={{_base_.train_pipeline}},
    ),
)
