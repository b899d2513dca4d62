"""What the calculation of a training on many GPUs assumes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Assumptions:
    """A training and its machines. Rates are published peaks times an assumed fraction of them.

    Attributes:
        products: number of products in the catalogue.
        epochs: number of epochs.
        global_batch: products in a batch of all GPUs.
        text_bytes: size of a product's text, in bytes.
        picture_kbytes: size of a picture, in kB.
        pictures_read: pictures that are read for a product. A row of Parquet is read
            as a whole, including pictures that a sample does not use.
        pictures_per_core: pictures that a core decodes and crops in a second.
        cores: cores of a machine that decode pictures.
        read_gbytes: GB that a machine reads from storage in a second.
        peak_tflops: peak of a GPU in dense bf16, in TFLOP/s.
        use: fraction of this peak that a step reaches.
        nvlink_gbytes: GB that a GPU sends in a second within a machine, one way.
        network_gbytes: GB that a GPU sends in a second to other machines, one way.
        network_share: fraction of these two rates that collectives reach.
        recompute: activations are computed twice (activation checkpointing or
            ``chunk_size``).
        sharded: ``ShardedRunner`` is used instead of DDP.
    """

    products: int = 15_000_000
    epochs: int = 15
    global_batch: int = 6400
    text_bytes: int = 200
    picture_kbytes: float = 100.0
    pictures_read: float = 6.7
    pictures_per_core: float = 400.0
    cores: int = 96
    read_gbytes: float = 2.0
    peak_tflops: float = 989.0
    use: float = 0.4
    nvlink_gbytes: float = 450.0
    network_gbytes: float = 50.0
    network_share: float = 0.7
    recompute: bool = False
    sharded: bool = False
