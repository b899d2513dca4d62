"""Zero-shot classification by text prompts (Table 1, left)."""

from collections.abc import Sequence

import numpy as np

from eclip_mm.evaluation.functional import (
    classify,
    ensemble_prompts,
    topk_chance,
    topk_correct,
)
from eclip_mm.evaluation.metrics.base import ProductMetric, check_topk, get_feature, get_field
from eclip_mm.registry import METRICS


@METRICS.register_module()
class ZeroShotClassification(ProductMetric):
    """Top-k accuracy of classifying photos into all products or categories.

    The classes are the products (``target='product'``) or categories
    (``target='category'``) of ``catalogue``, including those without a photo
    in the evaluated set. Products with exactly the same text are one class,
    since a text cannot distinguish them. The caller encodes
    :attr:`class_prompts` with the text encoder and passes the features to
    :meth:`set_class_feats` during each evaluation (``ClassPromptHook`` does
    so). They are dropped after each evaluation, because the model changes. A
    class feature is the normalised mean of its normalised prompt features.

    Without ``catalogue`` (``target='product'`` only) the classes are the
    products of the evaluated samples, each with its sample's own
    ``pred_text_feat``. This is an easier task if some products have no photo.

    A sample whose class has no prompt (its product is not in the catalogue,
    or it has no category) counts as wrong and is counted in
    ``num_without_prompt``. A class without samples competes for every sample
    and enters no mean; a category without samples has count 0 and no figure in
    ``tables``.

    Figures for target T: ``T_topK`` with ``T_topK_chance`` (K / number of
    classes; 0 for a sample without prompt). Counts: ``T_num_samples``,
    ``T_num_classes``, ``T_num_without_prompt``. An empty set gives a warning
    and counts of 0. A catalogue without any category gives a warning and its
    counts.

    Note:
        ``pred_instance_feat`` is prompted with the sample's own text. For
        ``target='product'`` this text is the answer, so the combination is an
        error.

    Args:
        split: as in :class:`ProductMetric`.
        topk: cut-offs. Defaults to (1, 5).
        feature: ``pred_image_feat`` (default) or ``pred_instance_feat``.
        target: ``product`` (default) or ``category``.
        catalogue: path(s) of the catalogue that lists the classes.
        templates: prompt templates; each contains ``{}`` once, for the text of
            the product or the name of the category.
        subgroups: as in :class:`ProductMetric`. Defaults to ``('category',)``.
        **kwargs: of :class:`ProductMetric`.
    """

    default_prefix = 'zero_shot'

    def __init__(
        self,
        split: str | None = None,
        topk: Sequence[int] = (1, 5),
        feature: str = 'pred_image_feat',
        target: str = 'product',
        catalogue=None,
        templates: Sequence[str] = ('{}',),
        subgroups: Sequence[str] = ('category',),
        **kwargs,
    ) -> None:
        super().__init__(split=split, subgroups=subgroups, **kwargs)
        name = type(self).__name__
        if target not in ('product', 'category'):
            raise ValueError(f"{name}: target is 'product' or 'category', got {target!r}")
        if target == 'category' and catalogue is None:
            raise ValueError(
                f"{name}: target='category' needs catalogue=PATH to list the categories"
            )
        if target == 'product' and feature == 'pred_instance_feat':
            raise ValueError(
                f"{name}: with target='product' the instance feature is prompted "
                "with the answer; use feature='pred_image_feat'"
            )
        if (
            isinstance(templates, str)
            or not templates
            or any(t.count('{}') != 1 for t in templates)
        ):
            raise ValueError(
                f"{name}: templates is a list of strings with '{{}}' once each, got {templates!r}"
            )
        self.topk = check_topk(topk, name)
        self.feature = feature
        self.target = target
        self._prompts: dict[str, list[str]] | None = None
        self._class_of: dict[str, str] = {}
        self._class_feats: tuple[list[str], np.ndarray] | None = None
        if catalogue is not None:
            self._list_classes(catalogue, tuple(templates))

    def _list_classes(self, catalogue, templates: tuple[str, ...]) -> None:
        from eclip_mm.datasets.catalogue import read_catalogue

        # Only texts are needed, so the pictures may be missing here.
        rows = read_catalogue(catalogue, check_files=False)
        if self.target == 'category':
            words = [category for category in dict.fromkeys(rows.categories()) if category]
            named = zip(words, words, strict=True)
        else:
            named = zip(rows.product_ids, rows.texts(), strict=True)
        class_of_text: dict[str, str] = {}
        self._prompts = {}
        for label, text in named:
            name = class_of_text.setdefault(text, label)
            self._class_of[label] = name
            if name == label:
                self._prompts[name] = [template.replace('{}', text) for template in templates]

    @property
    def class_prompts(self) -> dict[str, list[str]]:
        """Prompts to encode: class name -> filled templates; empty without catalogue."""
        return dict(self._prompts or {})

    def set_class_feats(self, names: Sequence[str], feats) -> None:
        """Set the text features of the classes for this evaluation.

        Args:
            names: keys of :attr:`class_prompts`, in any order.
            feats: of each name, the (T, D) features of its prompts, or (D,)
                for one prompt.

        Raises:
            ValueError: a class is missing, unknown or given twice, or the
                features are invalid.
        """
        names = list(names)
        wanted = set(self._prompts or names)
        if len(names) != len(feats) or len(set(names)) != len(names) or set(names) != wanted:
            missing, extra = wanted - set(names), set(names) - wanted
            raise ValueError(
                f'{type(self).__name__}.set_class_feats: one feature for each class of '
                f'class_prompts is needed, got {len(names)} names and {len(feats)} features; '
                f'missing {sorted(missing)[:5]}, unknown {sorted(extra)[:5]}'
            )
        self._class_feats = (names, ensemble_prompts(feats))

    def figure_names(self) -> set[str]:
        """``T_topK`` of the target T."""
        return {f'{self.target}_top{k}' for k in self.topk}

    def describe_sample(self, sample: dict, image=None) -> dict:
        """Keep label and features, (D,) float32 each."""
        name = type(self).__name__
        label = (
            get_field(sample, 'product_id', name)
            if self.target == 'product'
            else sample.get('category')
        )
        record = dict(label=label, feat=get_feature(sample, self.feature, name))
        if self._prompts is None and self._class_feats is None:
            record.update(
                text=get_field(sample, 'text', name),
                text_feat=get_feature(sample, 'pred_text_feat', name),
            )
        return record

    def reset(self) -> None:
        """Clear samples and class features, because the model changes."""
        super().reset()
        self._class_feats = None

    def _classes(self, records: list[dict]) -> tuple[list[str], np.ndarray, dict[str, str]]:
        """Return names, (C, D) features, and the class of each label."""
        if self._class_feats is not None:
            names, feats = self._class_feats
            return names, feats, self._class_of or {name: name for name in names}
        if self._prompts is not None:
            raise RuntimeError(
                f'{type(self).__name__} lists its classes from a catalogue, but set_class_feats() '
                'was not called before this evaluation: encode metric.class_prompts with the '
                "model's text encoder and pass the features to it (ClassPromptHook does so)"
            )
        class_of_text: dict[str, str] = {}
        class_of: dict[str, str] = {}
        feats = {}
        for record in records:
            name = class_of_text.setdefault(record['text'], record['label'])
            class_of.setdefault(record['label'], name)
            feats.setdefault(class_of[record['label']], record['text_feat'])
        return list(feats), ensemble_prompts(feats.values()), class_of

    def measure(self, records: list[dict]) -> dict:
        """Classify each photo."""
        target = self.target
        figures = {f'{target}_num_samples': len(records), f'{target}_num_without_prompt': 0}
        if not records:
            return figures
        if self._prompts == {}:
            self.warn('no product of the catalogue has a category. Its figures are left out.')
            figures.update(
                {f'{target}_num_classes': 0, f'{target}_num_without_prompt': len(records)}
            )
            return figures
        names, class_feats, class_of = self._classes(records)
        index = {name: i for i, name in enumerate(names)}
        labels = np.array([index.get(class_of.get(record['label']), -1) for record in records])
        missing = int((labels < 0).sum())
        figures.update(
            {f'{target}_num_classes': len(names), f'{target}_num_without_prompt': missing}
        )
        if missing:
            first = records[int((labels < 0).argmax())]['label']
            self.warn(
                f'{missing} of {len(records)} samples have a {target} without prompt '
                f'(the first is {first!r}) and count as wrong.'
            )
        ranked = classify(
            np.stack([record['feat'] for record in records]), class_feats, max(self.topk)
        )
        if target == 'category':
            self.listed = {'category': names}
        for k in self.topk:
            scores = topk_correct(ranked, labels, k)
            # guessing never finds a class without prompt
            chance = (labels >= 0) * topk_chance(len(names), k)
            self.add_figure(figures, f'{target}_top{k}', scores, chance, records)
        return figures
