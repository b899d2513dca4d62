_base_ = 'eclip_vitb16.py'
model = dict(
    image_encoder=dict(
        pretrained='google/vit-large-patch16-224-in21k',
        config=dict(
            hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
        ),
    )
)
train_dataloader = dict(batch_size=128)  # x 32 GPUs = 4,096
