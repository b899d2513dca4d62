"""Eq. 2-5 against loops over tokens and queries."""

import math

import pytest
import torch

from eclip_mm.models.decoders import InstanceDecoder, SlotAttention


def slow_slot_attention(layer, z, q, h):
    """The four equations, one scalar at a time."""
    batch, num_tokens, dims = z.shape
    num_queries = q.shape[1]
    query = layer.norm_query(q + h)
    wz, wq = layer.proj_z.weight, layer.proj_q.weight
    wv, wo = layer.proj_v.weight, layer.proj_o.weight
    out, maps = [], []
    for b in range(batch):
        m = [
            [(wz @ z[b, i]) @ (wq @ query[b, t]) / math.sqrt(dims) for t in range(num_queries)]
            for i in range(num_tokens)
        ]  # Eq. 2
        m = [[torch.exp(x) / sum(torch.exp(y) for y in row) for x in row] for row in m]  # Eq. 3
        rows = []
        for t in range(num_queries):
            mass = sum(m[i][t] for i in range(num_tokens))
            delta = sum(m[i][t] * (wv @ z[b, i]) for i in range(num_tokens)) / mass  # Eq. 4
            rows.append(h[b, t] + wo @ delta)  # Eq. 5
        out.append(torch.stack(rows))
        maps.append(torch.stack([torch.stack(row) for row in m]))
    return torch.stack(out), torch.stack(maps)


def test_matches_the_equations_in_value_and_gradient():
    torch.manual_seed(0)
    layer = SlotAttention(8).double()
    z, q, h = (torch.randn(2, n, 8, dtype=torch.float64, requires_grad=True) for n in (5, 3, 3))
    fast, fast_map = layer(z, q, h)
    slow, slow_map = slow_slot_attention(layer, z, q, h)
    # float64, but for the 1e-8 that the layer adds to a query's mass
    torch.testing.assert_close(fast, slow, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(fast_map, slow_map, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(slow)
    params = [z, q, h, *layer.parameters()]
    fast_grads = torch.autograd.grad((fast * weights).sum(), params)
    slow_grads = torch.autograd.grad((slow * weights).sum(), params)
    for a, b in zip(fast_grads, slow_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_groups_and_a_bias_are_what_each_group_has_alone():
    """The bias is added to Eq. 2; the softmax of Eq. 3 runs over the queries of a group."""
    torch.manual_seed(0)
    layer = SlotAttention(8).double()
    z, q, h = (torch.randn(2, n, 8, dtype=torch.float64) for n in (5, 6, 6))
    bias = torch.randn(2, 5, 6, dtype=torch.float64)
    out, assign = layer(z, q, h, bias=bias, num_groups=2)
    for group in (slice(0, 3), slice(3, 6)):
        logits = layer.proj_z(z) @ layer.proj_q(layer.norm_query(q + h)[:, group]).transpose(1, 2)
        expected = (logits / math.sqrt(8) + bias[..., group]).softmax(dim=2)
        torch.testing.assert_close(assign[..., group], expected)
        alone, _ = layer(z, q[:, group], h[:, group], bias=bias[..., group])
        torch.testing.assert_close(out[:, group], alone)
    # the usual cross-attention, to which a bias is an attention mask
    layer = SlotAttention(8, softmax_over='tokens').double()
    out, assign = layer(z, q, torch.zeros_like(h), bias=bias)
    torch.testing.assert_close(assign.sum(dim=1), torch.ones(2, 6, dtype=torch.float64))
    value = torch.nn.functional.scaled_dot_product_attention(
        layer.proj_q(layer.norm_query(q)),
        layer.proj_z(z),
        layer.proj_v(z),
        attn_mask=bias.transpose(1, 2),
    )
    torch.testing.assert_close(out, layer.proj_o(value))
    with pytest.raises(ValueError, match='softmax_over'):
        SlotAttention(8, softmax_over='heads')


def test_places_are_compared_and_not_carried():
    torch.manual_seed(0)
    block = InstanceDecoder(8, num_blocks=1, num_heads=1).blocks[0]
    z, q, h, places = (torch.randn(2, n, 8) for n in (5, 4, 4, 4))
    out, assign = block(z, q, h, places=places, num_groups=2)
    x, _ = block.slot_attn(z, q, h, num_groups=2)
    normed, weight = block.norm_attn(x), block.self_attn
    query, key, value = weight.in_proj_weight.chunk(3)
    for group in (slice(0, 2), slice(2, 4)):
        seen = (normed + places)[:, group]
        attention = (seen @ query.T) @ (seen @ key.T).transpose(1, 2) / math.sqrt(8)
        update = attention.softmax(dim=-1) @ normed[:, group] @ value.T
        found = x[:, group] + weight.out_proj(update)
        found = found + block.ffn(block.norm_ffn(found))
        torch.testing.assert_close(out[:, group], found)


def test_numbers_worked_by_hand():
    """D = 1, identity weights; the norm of a 1-D query is its bias: 1."""
    layer = SlotAttention(1)
    with torch.no_grad():
        for proj in (layer.proj_z, layer.proj_q, layer.proj_v, layer.proj_o):
            proj.weight.fill_(1.0)
        layer.norm_query.bias.fill_(1.0)
    z = torch.tensor([[[1.0], [3.0]]])
    h, assign = layer(z, torch.zeros(1, 2, 1), torch.zeros(1, 2, 1))
    # both queries are equal: each token is shared half and half, the means are (1 + 3) / 2
    torch.testing.assert_close(assign, torch.full((1, 2, 2), 0.5))
    torch.testing.assert_close(h, torch.full((1, 2, 1), 2.0))


def test_softmax_is_over_queries_and_float32_under_autocast():
    layer = SlotAttention(16)
    with torch.autocast('cpu', torch.bfloat16):
        h, assign = layer(torch.randn(2, 9, 16), torch.randn(2, 4, 16), torch.zeros(2, 4, 16))
    assert assign.dtype == torch.float32
    torch.testing.assert_close(assign.sum(dim=2), torch.ones(2, 9))


def test_a_query_without_tokens_gets_no_update_and_no_nan():
    layer = SlotAttention(4)
    with torch.no_grad():
        layer.proj_z.weight.copy_(200 * torch.eye(4))
        layer.proj_q.weight.copy_(200 * torch.eye(4))
    z = torch.tensor([1.0, -1.0, 0.0, 0.0]).expand(1, 6, 4)
    q = torch.stack([z[0, 0], -z[0, 0]])[None].clone().requires_grad_()
    h, assign = layer(z, q, torch.zeros(1, 2, 4))
    assert assign[0, :, 1].sum() == 0
    assert torch.equal(h[0, 1], torch.zeros(4))
    h.sum().backward()
    assert q.grad.isfinite().all()


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return InstanceDecoder(embed_dims=16, num_blocks=2, num_heads=4).eval()


def test_permuting_queries_permutes_the_result(decoder):
    z, q = torch.randn(2, 9, 16), torch.randn(2, 5, 16)
    order = torch.tensor([3, 0, 4, 1, 2])
    h, maps = decoder(z, q)
    h_perm, maps_perm = decoder(z, q[:, order])
    # float32, sums in another order
    torch.testing.assert_close(h_perm, h[:, order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps_perm[-1], maps[-1][:, :, order], rtol=1e-4, atol=1e-5)


def test_permuting_tokens_permutes_the_maps_only(decoder):
    z, q = torch.randn(2, 9, 16), torch.randn(2, 5, 16)
    order = torch.randperm(9)
    h, maps = decoder(z, q)
    h_perm, maps_perm = decoder(z[:, order], q)
    torch.testing.assert_close(h_perm, h, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps_perm[0], maps[0][:, order], rtol=1e-4, atol=1e-5)


def test_samples_do_not_see_each_other(decoder):
    z, q = torch.randn(3, 9, 16), torch.randn(3, 5, 16)
    both, _ = decoder(z, q)
    alone, _ = decoder(z[1:2], q[1:2])
    torch.testing.assert_close(both[1:2], alone, rtol=1e-4, atol=1e-5)


def test_the_result_holds_visual_information_only(decoder):
    """Prompts enter the similarity of Eq. 2 alone: equal tokens, equal result."""
    z = torch.randn(1, 1, 16).expand(1, 9, 16)
    a, _ = decoder(z, torch.randn(1, 5, 16))
    b, _ = decoder(z, 3 * torch.randn(1, 5, 16))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_aligned_init_assigns_tokens_to_the_prompt_that_they_equal():
    """Eq. 2 at the start is sqrt(D) cos(token, query), with separate matrices in each block."""
    torch.manual_seed(0)
    decoder = InstanceDecoder(16, num_blocks=2, num_heads=2, aligned_init=True)
    prompts = 4 * torch.nn.functional.normalize(torch.randn(1, 5, 16), dim=-1)
    order = torch.tensor([3, 0, 4, 4, 1])
    tokens = 7 * prompts[:, order]  # LayerNorm takes the length away
    layer = decoder.blocks[0].slot_attn
    cos = torch.nn.functional.cosine_similarity(
        decoder.norm_tokens(tokens)[:, :, None], layer.norm_query(prompts)[:, None], dim=-1
    )
    assign_map = decoder(tokens, prompts)[1][0]
    torch.testing.assert_close(assign_map, (math.sqrt(16) * cos).softmax(dim=2))
    assert torch.equal(assign_map[0].argmax(dim=1), order)
    first, second = (block.slot_attn for block in decoder.blocks)
    assert first.proj_z.weight is not first.proj_q.weight
    assert not torch.equal(first.proj_z.weight, second.proj_z.weight)


def test_a_background_competes_for_each_token():
    """D = 4: Eq. 3 has a term exp(sqrt(D) b) = exp(0.5) more, which belongs to no query."""
    layer = SlotAttention(4, background=0.25)
    z, q, h = torch.randn(2, 5, 4), torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    found, assign_map = layer(z, q, h)
    queries = layer.proj_q(layer.norm_query(q + h))
    weights = (layer.proj_z(z) @ queries.transpose(1, 2) / 2).exp()
    expected = weights / (weights.sum(dim=2, keepdim=True) + math.exp(0.5))
    torch.testing.assert_close(assign_map, expected)
    # Eq. 4 and 5 are as before, with these masses
    values = layer.proj_v(expected.transpose(1, 2) @ z / expected.sum(dim=1).unsqueeze(-1))
    torch.testing.assert_close(found, h + layer.proj_o(values))


def test_no_background_is_eq_3_as_written():
    torch.manual_seed(0)
    plain = SlotAttention(8)
    far = SlotAttention(8, background=-1e4)
    far.load_state_dict(plain.state_dict())
    inputs = torch.randn(2, 5, 8), torch.randn(2, 3, 8), torch.zeros(2, 3, 8)
    for a, b in zip(plain(*inputs), far(*inputs), strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match='decoder.background=0.2 competes with the queries'):
        SlotAttention(8, softmax_over='tokens', background=0.2)
