"""The collapse evaluation: which numbers, of what, with which rows and notes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hugbench.criteria.hug import HUG
from hugbench.criteria.proxies import simplex
from hugbench.criteria.softmax import CrossEntropy
from hugbench.errors import UserError
from hugbench.evaluations import gathering, geometry
from hugbench.evaluations.collapse import collapse
from hugbench.evaluations.geometry import Features
from hugbench.models import Classifier
from hugbench.results.comparison import direction
from tests.unit.evaluations.conftest import dataset, levels, mirror

NEURAL = [
    "within_class_variability",
    "class_distance_normalised_variance",
    "simplex_etf_error",
    "equinorm_variation",
    "equiangularity_error",
    "self_duality_error",
    "nearest_class_centre_agreement",
]
GENERALISED = [
    "inter_energy",
    "inter_energy_ratio",
    "inter_energy_centred",
    "inter_energy_centred_ratio",
    "intra_chord",
    "intra_squared_chord",
    "intra_proxy_chord",
]


class Headless(CrossEntropy):
    """A criterion without proxies."""

    def proxies(self):
        return None


class Wider(CrossEntropy):
    """A criterion whose proxies live elsewhere."""

    def proxies(self):
        return torch.eye(self.num_classes, self.in_features + 1)


def values(findings, subset):
    return {m.metric: m.value for m in findings.measurements if m.subset == subset}


def drawn(count, classes, seed):
    """Images of random levels whose label is mostly that of the brightest channel."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, 256, (count, classes), generator=generator)
    noise = torch.randint(0, classes, (count,), generator=generator)
    wrong = torch.rand(count, generator=generator) < 0.4
    return levels(rows, torch.where(wrong, noise, rows.argmax(1)))


class Pixels(nn.Module):
    """Images to fixed features, through a matrix."""

    def __init__(self, matrix):
        super().__init__()
        self.register_buffer("matrix", matrix.float())

    def forward(self, images):
        return images.flatten(1) @ self.matrix


def projected(matrix, criterion=CrossEntropy, weight=None) -> Classifier:
    """Features are the pixels times a matrix (C, d); one class per pixel."""
    classes, width = matrix.shape
    head = criterion(width, classes)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            parameter.copy_(torch.zeros(classes) if name == "bias" else matrix if weight is None else weight)
    return Classifier(Pixels(matrix), head, mean=(0.0,) * classes, std=(1.0,) * classes)


def one_hot_images(labels, classes):
    return levels(255 * torch.eye(classes)[torch.tensor(labels)], labels)


class TestCollapsed:
    """One-hot images whose features are the corners of a simplex."""

    train, test = one_hot_images([0, 1, 2, 3] * 3, 4), one_hot_images([3, 2, 1, 0, 0], 4)

    @pytest.mark.parametrize("criterion", [CrossEntropy, HUG])
    def test_every_measure_is_at_its_optimum(self, criterion, setting, device):
        classifier = projected(simplex(4), criterion).to(device)
        findings = collapse(classifier, setting(dataset(self.train, self.test)))
        for split, n in (("train", 12), ("test", 5)):
            found = values(findings, split)
            assert list(found) == [*NEURAL, *(f"{name}_on_sphere" for name in NEURAL), *GENERALISED]
            for metric, value in found.items():
                perfect = 1 if "agreement" in metric or metric.endswith("ratio") else 0
                perfect = 0.375 if metric in ("inter_energy", "inter_energy_centred") else perfect
                assert value == pytest.approx(perfect, abs=2e-6), (split, metric)
            assert {m.n for m in findings.measurements if m.subset == split} == {n}
        found = values(findings, "proxies")
        assert found == {
            "simplex_etf_error": pytest.approx(0, abs=1e-6),
            "inter_energy": pytest.approx(0.375, rel=1e-6),
            "inter_energy_ratio": pytest.approx(1, rel=1e-6),
        }
        assert {m.n for m in findings.measurements if m.subset == "proxies"} == {0}
        assert findings.notes == []

    def test_no_measure_is_better_for_being_more_or_less(self, setting, device):
        findings = collapse(projected(simplex(4)).to(device), setting(dataset(self.train, self.test)))
        assert {direction(m.metric) for m in findings.measurements} == {"neutral"}


class TestOfRandomImages:
    train, test = drawn(60, 7, 0), drawn(41, 7, 1)

    @pytest.fixture(params=[CrossEntropy, HUG], ids=["cross_entropy", "hug"])
    def classifier(self, request, device):
        scale = 255.0 if request.param is CrossEntropy else 1.0
        return mirror(7, scale / 51, criterion=request.param).to(device)

    def features(self, images, on_sphere=False):
        return Features(images.pixels.flatten(1) / 255, images.targets, 7, on_sphere)

    def test_the_numbers_are_those_of_the_features(self, classifier, setting):
        findings = collapse(classifier, setting(dataset(self.train, self.test)))
        proxies = classifier.criterion.proxies().detach().cpu().double()
        for split, images in (("train", self.train), ("test", self.test)):
            found = values(findings, split)
            for suffix in ("", "_on_sphere"):
                features = self.features(images, bool(suffix))
                means = features.centred_means
                expected = {
                    "within_class_variability": geometry.within_class_variability(features),
                    "class_distance_normalised_variance": geometry.class_distance_normalised_variance(
                        features
                    ),
                    "simplex_etf_error": geometry.simplex_etf_error(means),
                    "self_duality_error": geometry.self_duality_error(means, proxies),
                }
                assert {name: found[name + suffix] for name in expected} == pytest.approx(expected, rel=1e-5)
            sphere = self.features(images, True)
            assert found["inter_energy"] == pytest.approx(geometry.energy(sphere.means)[0], rel=1e-5)
            assert found["inter_energy_ratio"] == pytest.approx(found["inter_energy"] / (6 / 14), rel=1e-9)
            chords = geometry.chords(sphere, proxies)
            assert found["intra_proxy_chord"] == pytest.approx(sphere.mean_over_classes(chords), rel=1e-5)

    def test_agreement_and_rows_image_by_image(self, classifier, setting):
        findings = collapse(classifier, setting(dataset(self.train, self.test)))
        rows = findings.predictions
        assert {len(column) for column in rows.values()} == {60 + 41}
        assert set(rows["kind"]) == {"image"}
        assert "x0" not in rows
        means = self.features(self.train).means
        logits = classifier.cpu()
        for split, images in (("train", self.train), ("test", self.test)):
            own = rows["split"] == split
            assert rows["index"][own].tolist() == list(range(len(images)))
            assert rows["target"][own].tolist() == images.targets.tolist()
            agreed, agreed_on_sphere, directions = 0, 0, self.features(images, True).means
            for place, pixels in zip(np.flatnonzero(own), images.pixels, strict=True):
                feature = pixels.flatten().double() / 255
                prediction = int(logits(pixels[None].float() / 255).argmax())
                nearest = int((means - feature).norm(dim=1).argmin())
                agreed += prediction == nearest
                on_sphere = (self.features(self.train, True).means - feature / feature.norm()).norm(dim=1)
                agreed_on_sphere += prediction == int(on_sphere.argmin())
                direction = directions[rows["target"][place]]
                chord = (feature / feature.norm() - direction / direction.norm()).norm()
                assert rows["prediction"][place] == prediction
                assert rows["nearest_class_centre"][place] == nearest
                assert rows["norm"][place] == pytest.approx(float(feature.norm()), rel=1e-5)
                assert rows["chord_to_mean"][place] == pytest.approx(float(chord), rel=1e-4)
            found, name = values(findings, split), "nearest_class_centre_agreement"
            assert found[name] == pytest.approx(agreed / len(images))
            assert found[f"{name}_on_sphere"] == pytest.approx(agreed_on_sphere / len(images))

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_one_split_gives_the_numbers_of_both(self, classifier, setting, split):
        both = collapse(classifier, setting(dataset(self.train, self.test)))
        one = collapse(classifier, setting(dataset(self.train, self.test)), splits=split)
        assert values(one, split) == values(both, split)
        assert {m.subset for m in one.measurements} == {split, "proxies"}
        assert set(one.predictions["split"]) == {split}

    def test_the_classifier_is_left_as_it_was(self, classifier, setting):
        classifier.train()
        before = {name: value.clone() for name, value in classifier.state_dict().items()}
        random = torch.get_rng_state()
        collapse(classifier, setting(dataset(self.train, self.test)))
        assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
        assert torch.equal(torch.get_rng_state(), random)
        assert all(part.training for part in classifier.modules())


class TestInThePlane:
    """Five classes at the corners of a pentagon."""

    angles = torch.arange(5) * (2 * math.pi / 5)
    pentagon = torch.stack([angles.cos(), angles.sin()], dim=1)
    train, test = one_hot_images([0, 1, 2, 3, 4], 5), one_hot_images([4, 0], 5)

    def test_coordinates_means_and_proxies_are_rows(self, setting, device):
        classifier = projected(3 * self.pentagon, HUG, self.pentagon.roll(1, 0)).to(device)
        findings = collapse(classifier, setting(dataset(self.train, self.test)))
        rows = findings.predictions
        kinds = list(zip(rows["kind"], rows["split"], strict=True))
        assert {pair: kinds.count(pair) for pair in kinds} == {
            ("image", "train"): 5, ("mean", "train"): 5, ("image", "test"): 2, ("mean", "test"): 2, ("proxy", ""): 5,
        }  # fmt: skip
        points = np.stack([rows["x0"], rows["x1"]], axis=1)
        for kind, expected in (
            ("image", 3 * self.pentagon),
            ("mean", self.pentagon),
            ("proxy", self.pentagon.roll(1, 0)),
        ):
            own = rows["kind"] == kind
            np.testing.assert_allclose(points[own], expected[rows["target"][own]], atol=1e-6)
            assert rows["class_name"][own].tolist() == [f"c{label}" for label in rows["target"][own]]
        others = rows["kind"] != "image"
        for column in ("index", "prediction", "nearest_class_centre"):
            assert set(rows[column][others]) == {-1}
        assert np.isnan(rows["chord_to_mean"][others]).all()

    def test_the_pentagon_has_the_least_energy_and_is_no_simplex(self, setting, device):
        found = values(
            collapse(projected(self.pentagon).to(device), setting(dataset(self.train, self.test))), "train"
        )
        assert found["inter_energy"] == pytest.approx(0.5, rel=1e-6)
        assert found["inter_energy_ratio"] == pytest.approx(1, rel=1e-6)
        assert found["simplex_etf_error"] > 0.5
        assert found["within_class_variability"] == pytest.approx(0, abs=1e-12)


def test_a_ratio_over_a_bound_is_called_so(setting, device):
    classifier = mirror(7).to(device)
    narrow = projected(torch.randn(7, 5, generator=torch.Generator().manual_seed(0))).to(device)
    data = dataset(drawn(60, 7, 0), drawn(30, 7, 1))
    assert "inter_energy_ratio" in values(collapse(classifier, setting(data)), "train")
    findings = collapse(narrow, setting(data))
    for subset in ("train", "test", "proxies"):
        found = values(findings, subset)
        assert "inter_energy_ratio" not in found
        assert found["inter_energy_bound_ratio"] == pytest.approx(found["inter_energy"] / 0.43600, rel=1e-4)
    bounds = [
        note for note in findings.notes if "the least energy of 7 points in 5 dimensions is not known" in note
    ]
    assert len(bounds) == 1


def test_one_dimension_has_no_ratio(setting, device):
    findings = collapse(
        projected(torch.tensor([[1.0], [2.0], [-1.0]])).to(device),
        setting(dataset(one_hot_images([0, 1, 2], 3), one_hot_images([0, 2], 3))),
    )
    assert not any(name.endswith("ratio") for name in values(findings, "train"))
    assert "no inter_energy_ratio: 3 points in 1 dimensions have no least energy" in findings.notes
    assert values(findings, "test")["inter_energy_centred_ratio"] == pytest.approx(1)


@pytest.mark.parametrize(("criterion", "why"), [(Headless, "no proxies"), (Wider, "have 4 dimensions")])
def test_without_proxies_of_its_width_there_is_no_self_duality(criterion, why, setting, device):
    data = dataset(drawn(30, 3, 0), drawn(20, 3, 1))
    findings = collapse(mirror(3, criterion=criterion).to(device), setting(data))
    assert {m.subset for m in findings.measurements} == {"train", "test"}
    missing = {"self_duality_error", "self_duality_error_on_sphere", "intra_proxy_chord"}
    assert not missing & set(values(findings, "train"))
    assert any("no self_duality_error" in note and why in note for note in findings.notes)


def test_classes_without_images_take_no_part_and_are_told(setting, device):
    train = one_hot_images([0, 1, 2, 0], 4)
    findings = collapse(projected(simplex(4)).to(device), setting(dataset(train, one_hot_images([1, 3], 4))))
    assert values(findings, "train")["inter_energy"] == pytest.approx(
        0.375, rel=1e-6
    )  # chords of the simplex
    assert "1 of 4 classes have no train images and take no part" in findings.notes
    assert "2 of 4 classes have no test images and take no part" in findings.notes
    corners = simplex(4)[[1, 3]]
    duality = geometry.self_duality_error(corners - corners.mean(dim=0), corners)
    assert values(findings, "test")["self_duality_error"] == pytest.approx(duality, rel=1e-5)
    last = findings.predictions["nearest_class_centre"][-1]
    assert last != 3  # unknown in training


class TestInAStream:
    """Two experiences, of classes 3 and 0, then of 2 and 1."""

    train, test = one_hot_images([0, 1, 2, 3, 0, 3], 4), one_hot_images([2, 3, 0], 4)
    experiences = (torch.tensor([3, 0]), torch.tensor([2, 1]))

    def find(self, setting, device, experience):
        data = replace(
            setting(dataset(self.train, self.test)), experiences=self.experiences, experience=experience
        )
        return collapse(projected(simplex(4)).to(device), data)

    def test_only_the_classes_seen_are_measured(self, setting, device):
        findings = self.find(setting, device, 1)
        found = values(findings, "train")
        # two points of a simplex of four, cos −1/3: 1/(2 + 2/3), over ¼ for two antipodes
        assert found["inter_energy"] == pytest.approx(0.375, rel=1e-6)
        assert found["inter_energy_ratio"] == pytest.approx(1.5, rel=1e-6)
        assert values(findings, "proxies")["inter_energy_ratio"] == pytest.approx(1.5, rel=1e-6)
        assert findings.predictions["index"].tolist() == [0, 3, 4, 5, 1, 2]
        assert findings.predictions["target"].tolist() == [0, 3, 0, 3, 3, 0]
        assert {(m.subset, m.n) for m in findings.measurements} == {("train", 4), ("test", 2), ("proxies", 0)}
        assert findings.notes == []

    @pytest.mark.parametrize("experience", [0, 2])
    def test_all_are_before_the_first_experience_and_after_the_last(self, setting, device, experience):
        findings = self.find(setting, device, experience)
        assert {m.n for m in findings.measurements} == {6, 3, 0}
        assert values(findings, "train")["inter_energy_ratio"] == pytest.approx(1, rel=1e-6)


def test_features_that_say_nothing(setting, device):
    data = setting(dataset(one_hot_images([0, 1, 2], 3), one_hot_images([2, 1], 3)))
    findings = collapse(projected(torch.zeros(3, 4), weight=torch.eye(3, 4)).to(device), data)
    found = values(findings, "train")
    assert math.isnan(found["within_class_variability"])
    assert math.isnan(found["inter_energy"])
    assert found["intra_chord"] == pytest.approx(math.sqrt(2))
    assert "3 of 3 train features are zero and have no direction" in findings.notes
    assert (
        "within_class_variability of train has no finite value: there are not two classes that differ"
        in findings.notes
    )


def test_a_single_class_is_told(setting, device):
    data = setting(dataset(one_hot_images([1, 1], 3), one_hot_images([1], 3)))
    findings = collapse(projected(simplex(3)).to(device), data)
    found = values(findings, "train")
    assert math.isnan(found["class_distance_normalised_variance"])
    assert found["intra_chord"] == pytest.approx(0, abs=1e-6)
    assert found["nearest_class_centre_agreement"] == 1


def test_features_that_are_not_finite_are_refused(setting, device):
    classifier = projected(torch.full((3, 2), math.inf)).to(device)
    data = setting(dataset(one_hot_images([0, 1, 2], 3), one_hot_images([0], 3)))
    with pytest.raises(ValueError, match="features of the train images: expected finite numbers"):
        collapse(classifier, data)


def test_a_data_set_without_test_images_is_refused(setting, device):
    train = one_hot_images([0, 1, 2], 3)
    with pytest.raises(UserError, match="has no test images"):
        collapse(projected(simplex(3)).to(device), setting(dataset(train, train.subset(torch.arange(0)))))


def test_features_in_a_file_give_the_same_numbers(setting, device, tmp_path, monkeypatch):
    data = dataset(drawn(60, 7, 0), drawn(41, 7, 1))
    classifier = mirror(7, 5.0, criterion=HUG).to(device)
    expected = collapse(classifier, setting(data))
    monkeypatch.setattr(gathering, "available_memory", lambda: 0)
    found = collapse(classifier, replace(setting(data), scratch=tmp_path / "scratch"))
    assert found.measurements == expected.measurements
    assert found.notes == expected.notes
    for name, column in expected.predictions.items():
        np.testing.assert_array_equal(found.predictions[name], column)
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(("dimension", "known"), [(500, True), (512, False), (999, True)])
def test_a_thousand_classes_with_and_without_a_simplex(setting, device, dimension, known):
    """C = 1000 > d + 1: a cross-polytope in 500 dimensions, and with twelve to spare; C = d + 1: the simplex."""
    classes = 1000
    if dimension == classes - 1:
        corners = simplex(classes)
    else:
        axes = torch.eye(dimension)[: classes // 2]
        corners = torch.cat([axes, -axes])
    images = one_hot_images(list(range(classes)), classes)
    findings = collapse(
        projected(corners).to(device), replace(setting(dataset(images, images)), batch_size=500)
    )
    for subset in ("train", "test", "proxies"):
        found = values(findings, subset)
        ratio = found["inter_energy_ratio" if known else "inter_energy_bound_ratio"]
        assert ratio == pytest.approx(1, abs=1e-6 if known else 1e-3)
        assert ratio >= 1 - 1e-7
        assert found["simplex_etf_error"] == pytest.approx(0 if dimension == 999 else 0.7, abs=0.1)
        assert ("inter_energy_ratio" in found) == known
    for subset in ("train", "test"):
        found = values(findings, subset)
        assert found["intra_chord"] == pytest.approx(0, abs=1e-5)
        assert (
            found["nearest_class_centre_agreement"] == found["nearest_class_centre_agreement_on_sphere"] == 1
        )
        assert found["within_class_variability"] == pytest.approx(0, abs=1e-9)
        assert found["self_duality_error"] == pytest.approx(0, abs=1e-4)
    assert any("is not known" in note for note in findings.notes) != known
