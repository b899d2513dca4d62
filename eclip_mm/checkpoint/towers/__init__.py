"""Pretrained encoders as folders of ``transformers``, from the hub or from a package index.

Nothing is imported here, so that the table of :mod:`.known` can be read without torch.
"""
