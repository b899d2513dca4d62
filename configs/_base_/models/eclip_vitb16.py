# ViT-B/16 + BERT-base + a 6-block instance decoder: 221 M parameters (paper: 220 M).
model = dict(
    type='ECLIP',
    embed_dims=512,
    data_preprocessor=dict(
        type='ProductDataPreprocessor', mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5)
    ),
    image_encoder=dict(
        type='TransformersImageEncoder',
        model_type='vit',
        pretrained='google/vit-base-patch16-224-in21k',
        config=dict(image_size=224, patch_size=16),
    ),
    text_encoder=dict(
        type='TransformersTextEncoder', model_type='bert', pretrained='bert-base-uncased'
    ),
    queries=dict(type='InstanceQueries', num_queries=20),
    decoder=dict(type='InstanceDecoder', num_blocks=6, num_heads=8, ffn_ratio=4),
    prompts=dict(type='PromptSampler', image_prob=0.5, positive_index='random'),
    # at evaluation, type=CatalogueNegatives takes other products that the picture may show
    negative_queries=dict(type='GaussianNegatives', seed=0),
    momentum=dict(type='MomentumTeacher', momentum=0.99, schedule='cosine'),
    pretext_heads=dict(
        itc=dict(type='ITCHead'),
        inter=dict(type='InterProductHead'),
        itm=dict(type='ITMHead'),
        intra=dict(type='IntraProductHead', entropy=dict(type='AssignmentEntropyLoss')),
    ),
    score_map_blocks='mean',
)
