"""Images in another shape, images that show nothing, and which of them are taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hugbench.data.decode import conformed
from hugbench.data.images import Dataset, ResidentImages
from hugbench.evaluations.ood.images import SYNTHETIC, Conformed, Unnatural, sample


def pictures(count, channels, height, width, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, channels, height, width), dtype=np.uint8)


def ours(channels=3, size=8):
    train = ResidentImages(torch.from_numpy(pictures(6, channels, size, size)), torch.arange(6) % 3)
    mean, std = (0.2, 0.5, 0.9)[:channels], (0.1,) * channels
    return Dataset("ours", ("a", "b", "c"), train, None, train, mean, std, "0" * 64)


def every(images, device, batch_size=4, order=None):
    batches = list(images.batches(batch_size, device, order))
    return torch.cat([pixels for pixels, _, _ in batches]), torch.cat([indices for *_, indices in batches])


class TestConformed:
    def test_colour_to_grey_is_the_luma(self):
        images = pictures(2, 3, 4, 4)
        found = conformed(images, (1, 4, 4))
        weights = np.array([0.299, 0.587, 0.114])[:, None, None]
        expected = (images * weights).sum(axis=1, keepdims=True)
        assert np.abs(found - expected).max() <= 0.51

    def test_grey_to_colour_repeats(self):
        images = pictures(2, 1, 4, 4)
        assert (conformed(images, (3, 4, 4)) == images.repeat(3, axis=1)).all()

    @pytest.mark.parametrize("shape", [(1, 28, 28), (3, 5, 9), (1, 9, 9)])
    def test_is_what_a_file_would_be_decoded_to(self, shape):
        images = pictures(1, 3, 9, 9)
        picture = Image.fromarray(images[0].transpose(1, 2, 0)).convert("L" if shape[0] == 1 else "RGB")
        picture = picture.resize((shape[2], shape[1]), Image.Resampling.BICUBIC)
        expected = np.asarray(picture).reshape(*shape[1:], -1).transpose(2, 0, 1)
        assert (conformed(images, shape)[0] == expected).all()

    def test_images_of_our_shape_are_left_alone(self):
        images = pictures(2, 3, 4, 4)
        assert conformed(images, (3, 4, 4)) is images

    def test_batches_are_those_of_the_images(self, device):
        images = pictures(7, 1, 6, 6)
        wrapped = Conformed(ResidentImages(torch.from_numpy(images), torch.arange(7)), (3, 8, 8))
        assert (wrapped.shape, len(wrapped)) == ((3, 8, 8), 7)
        pixels, indices = every(wrapped, device)
        assert torch.equal(pixels.cpu(), torch.from_numpy(conformed(images, (3, 8, 8))))
        assert indices.tolist() == list(range(7))
        chosen = wrapped.subset(torch.tensor([5, 2])).subset(torch.tensor([1, 0]))
        assert torch.equal(every(chosen, device)[0], pixels[[2, 5]])
        assert chosen.targets.tolist() == [2, 5]


class TestUnnatural:
    @pytest.mark.parametrize("kind", SYNTHETIC)
    def test_an_image_depends_on_its_place_alone(self, device, kind):
        images = Unnatural(kind, 12, ours())
        whole = every(images, device, 12)[0]
        assert (whole.dtype, whole.shape) == (torch.uint8, (12, 3, 8, 8))
        assert torch.equal(every(images, device, 5)[0], whole)
        assert torch.equal(every(images.subset(torch.tensor([7, 3])), device)[0], whole[[7, 3]])
        assert len(whole.unique(dim=0)) == 12

    def test_uniform_noise_takes_every_value(self, device):
        values = every(Unnatural("uniform_noise", 200, ours()), device)[0].double()
        assert values.mean() == pytest.approx(127.5, abs=2)
        assert values.std() == pytest.approx(73.9, abs=1)
        assert (values.min(), values.max()) == (0, 255)

    def test_gaussian_noise_has_the_moments_of_the_training_images(self, device):
        values = every(Unnatural("gaussian_noise", 200, ours()), device)[0].double() / 255
        assert values[:, 1].mean() == pytest.approx(0.5, abs=0.01)
        assert values[:, 1].std() == pytest.approx(0.1, abs=0.01)
        assert values[:, 2].mean() == pytest.approx(
            0.9 - 0.1 * 0.0833, abs=0.01
        )  # cut at 1, one deviation away

    def test_constant_images_are_of_one_colour(self, device):
        values = every(Unnatural("constant", 20, ours()), device)[0]
        assert torch.equal(values, values[:, :, :1, :1].expand_as(values))
        assert len(values[:, :, 0, 0].unique()) > 10


class TestSample:
    targets = torch.tensor([0] * 10 + [1] * 10 + [2] * 2)

    def test_balances_the_classes(self):
        rows = sample(self.targets, ("a", "b", "c"), 8, "set")
        assert torch.bincount(self.targets[rows]).tolist() == [3, 3, 2]
        assert rows.tolist() == sorted(rows.tolist())
        assert rows.tolist() == sample(self.targets, ("a", "b", "c"), 8, "set").tolist()

    def test_all_where_there_are_no_more(self):
        assert sample(self.targets, ("a", "b", "c"), 22, "set").tolist() == list(range(22))
        assert sample(self.targets, ("a", "b", "c"), 999, "set").tolist() == list(range(22))

    def test_fewer_than_classes_are_any(self):
        rows = sample(self.targets, ("a", "b", "c"), 2, "set")
        assert len(rows.unique()) == 2
