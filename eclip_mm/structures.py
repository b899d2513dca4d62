"""The data sample that accompanies each product from the data set to the metrics."""

from mmengine.structures import BaseDataElement


class ProductDataSample(BaseDataElement):
    """Labels and predictions of one product sample.

    Meta information (``set_metainfo``; plain Python values):

    - ``product_id`` (str): identity of the prompted product.
    - ``text`` (str): its title or description, the text prompt.
    - ``category`` (str or None): coarse class.
    - ``attributes`` (dict[str, str, float, bool or list[str]]): what else the
      catalogue says of it, such as brand and price; may be empty.
    - ``sources`` (tuple[str]): where each loaded picture came from
      (``merchant``, ``comment``, ``video``, ...), V of them.
    - ``image_ids`` (tuple[str]): ``'{product_id}#{index of the picture in the
      row}'``, V of them; None instead of an image prompt that the product does
      not have.
    - ``ori_shape`` (tuple[int, int]): (height, width) of the first picture as
      stored.
    - ``img_shape`` (tuple[int, int]): (height, width) of the network input.
    - ``split`` (str): name of the evaluation split, empty in training.
    - ``object_product_ids`` (tuple[str]): one per row of ``object_bboxes``.

    Data fields of the first picture, evaluation only:

    - ``gt_bboxes`` (Tensor): (G, 4) float32, boxes of the prompted product,
      xyxy in pixels of the network input.
    - ``object_bboxes`` (Tensor): (K, 4) float32, boxes of every annotated
      product in the picture, the prompted one included; same format.

    Predictions, written by ``ECLIP.predict`` (all float32, on the CPU):

    - ``pred_image_feat``, ``pred_text_feat`` (Tensor): (D,) L2-normalised
      global features g_I(v_cls) and g_T(w_cls).
    - ``pred_instance_feat`` (Tensor): (D,) L2-normalised h_0^L of the positive
      query; the image feature if the model has no decoder.
    - ``pred_score_map`` (Tensor): (h, w) score map S on the patch grid,
      non-negative.
    - ``pred_image_prompt_map`` (Tensor): (h, w) score map with the second
      picture as prompt; only if the sample has two.
    """
