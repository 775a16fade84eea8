from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.models.masked_feature_reconstruction import FeatureDecoder, PyramidDecoder, random_patch_mask


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    patch=st.integers(1, 6),
    share=st.floats(0, 0.99),
    seed=st.integers(0, 1000),
)
def test_mask_is_0_on_whole_patches_and_on_the_share_asked_for(
    height: int, width: int, patch: int, share: float, seed: int
) -> None:
    mask = random_patch_mask(torch.empty(3, 2, height, width), patch, share, seeded(seed))
    assert mask.shape == (3, 1, height, width)
    for image in mask[:, 0]:
        values = []
        for top in range(0, height, patch):
            for left in range(0, width, patch):
                cells = image[top : top + patch, left : left + patch]
                assert cells.min() == cells.max()
                values.append(float(cells.max()))
        assert set(values) <= {0.0, 1.0}
        assert values.count(0.0) == round(share * len(values))


def test_every_patch_is_masked_equally_often_and_independently_of_others() -> None:
    masked = 1 - random_patch_mask(torch.empty(8000, 1, 3, 4), 1, 0.5, seeded())
    flat = masked.flatten(1)  # [8000, 12], six 1s a row
    torch.testing.assert_close(flat.mean(dim=0), torch.full((12,), 0.5), rtol=0, atol=0.025)
    together = flat.T @ flat / len(flat)
    # Six of twelve without replacement: a given pair is masked with probability 6/12 * 5/11.
    pairs = together[~torch.eye(12, dtype=torch.bool)]
    torch.testing.assert_close(pairs, torch.full_like(pairs, 5 / 22), rtol=0, atol=0.025)


def test_mask_is_a_function_of_the_generator() -> None:
    feature = torch.empty(4, 1, 8, 8)
    first, again = (random_patch_mask(feature, 2, 0.5, seeded(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, random_patch_mask(feature, 2, 0.5, seeded(4)))
    assert not torch.equal(first[0], first[1])
    torch.manual_seed(5)
    from_global = random_patch_mask(feature, 2, 0.5, None)
    torch.manual_seed(5)
    assert torch.equal(from_global, random_patch_mask(feature, 2, 0.5, None))


def test_mask_has_the_type_of_the_feature() -> None:
    assert (
        random_patch_mask(torch.empty(1, 1, 4, 4, dtype=torch.bfloat16), 2, 0.5, None).dtype == torch.bfloat16
    )


def test_decoder_is_three_convolutions_down_and_three_up_with_sums() -> None:
    torch.manual_seed(0)
    decoder = FeatureDecoder(4, 6)
    x = torch.randn(2, 4, 16, 24)

    def down(value: torch.Tensor, i: int) -> torch.Tensor:
        return F.conv2d(value, decoder.down[i].weight, decoder.down[i].bias, stride=2, padding=1).relu()

    def up(value: torch.Tensor, i: int) -> torch.Tensor:
        return F.conv_transpose2d(value, decoder.up[i].weight, decoder.up[i].bias, stride=2, padding=1)

    half = down(x, 0)
    quarter = down(half, 1)
    eighth = down(quarter, 2)
    assert eighth.shape == (2, 6, 2, 3)
    expected = up((up((up(eighth, 0) + quarter).relu(), 1) + half).relu(), 2) + x
    torch.testing.assert_close(decoder(x), expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (2, 3), (5, 9), (8, 8), (13, 10), (17, 15)])
def test_decoder_keeps_any_size(height: int, width: int) -> None:
    decoded = FeatureDecoder(4, 6)(torch.randn(2, 4, height, width))
    assert decoded.shape == (2, 4, height, width)
    assert decoded.isfinite().all()


def test_a_masked_patch_is_filled_from_its_neighbours() -> None:
    torch.manual_seed(0)
    decoder = FeatureDecoder(4, 16)
    feature = torch.randn(1, 4, 12, 12, requires_grad=True)
    mask = torch.ones(1, 1, 12, 12)
    mask[:, :, 4:6, 4:6] = 0
    decoder(feature * mask)[:, :, 4:6, 4:6].sum().backward()
    reach = feature.grad.abs().amax(dim=(0, 1)) > 0
    assert not reach[4:6, 4:6].any()
    assert reach[2:4, 2:8].all()
    assert reach[6:8, 2:8].all()


def test_pyramid_decoder_decodes_each_level_with_its_own_weights() -> None:
    torch.manual_seed(0)
    decoder = PyramidDecoder(2, 4, 6)
    fine, coarse = torch.randn(1, 4, 9, 7), torch.randn(1, 4, 5, 4)
    decoded = decoder((fine, coarse))
    assert [tuple(level.shape) for level in decoded] == [(1, 4, 9, 7), (1, 4, 5, 4)]
    assert torch.equal(decoded[1], decoder((fine + 1, coarse))[1])
    assert not torch.allclose(decoder((fine, fine))[0], decoder((fine, fine))[1])
