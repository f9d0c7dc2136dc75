"""The evaluation as a whole: on planted features, on a trained net, in a stream; what it says and refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from hugbench.criteria.hug import HUG
from hugbench.criteria.softmax import CrossEntropy
from hugbench.data.images import Dataset, ResidentImages
from hugbench.data.published import digits
from hugbench.errors import UserError
from hugbench.evaluations.base import Setting
from hugbench.evaluations.ood.detection import METRICS, detection
from hugbench.evaluations.ood.evaluation import ood, preflight
from hugbench.models import Classifier

SCORES = (
    "msp",
    "max_logit",
    "energy",
    "msp_calibrated",
    "energy_calibrated",
    "mahalanobis",
    "knn",
    "proxy_cosine",
    "class_mean_cosine",
)


def digits_data(validation=200) -> Dataset:
    """scikit-learn's digits, some of the training images held out."""
    (train, labels), (test, test_labels) = digits()
    images = ResidentImages(torch.from_numpy(train), labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    held = images.subset(order[:validation]) if validation else None
    names = tuple("0123456789")
    rest = images.subset(order[validation:])
    return Dataset(
        "digits",
        names,
        rest,
        held,
        ResidentImages(torch.from_numpy(test), test_labels),
        (0.3,),
        (0.4,),
        "0" * 64,
    )


def net(criterion=CrossEntropy, steps=0) -> Classifier:
    """A small perceptron, trained for some steps of full batches."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
    classifier = Classifier(body, criterion(16, 10), mean=(0.3,), std=(0.4,))
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.02)
    (images, labels), _ = digits()
    pixels = torch.from_numpy(images).float() / 255
    for _ in range(steps):
        optimizer.zero_grad()
        classifier.loss(pixels, labels).backward()
        optimizer.step()
    return classifier.eval()


@pytest.fixture(scope="module")
def data():
    return digits_data()


@pytest.fixture
def where(data, device, tmp_path):
    return Setting(data, device, seed=0, batch_size=128, data=tmp_path)


def values(findings, condition):
    return {m.metric: m.value for m in findings.measurements if m.condition == condition}


@pytest.mark.parametrize("criterion", [CrossEntropy, HUG])
def test_a_trained_net_tells_digits_from_what_shows_nothing(criterion, where, device):
    findings = ood(net(criterion, 40).to(device), where)
    means = values(findings, "synthetic")
    assert set(means) == {f"{score}.{metric}" for score in SCORES for metric in METRICS}
    for score in SCORES:
        if score != "proxy_cosine" or criterion is HUG:  # cross-entropy trains no cosine
            assert means[f"{score}.auroc"] > 0.8, score
    assert findings.notes == [
        "temperature fitted on 200 held-out training images",
        "out-of-distribution sets left out, not in the data folder: kmnist, fashion_mnist, cifar10, cifar100",
    ]


def test_the_numbers_are_those_of_the_predictions(where, device):
    findings = ood(net(CrossEntropy, 3).to(device), where, k=7)
    rows = {name: torch.as_tensor(column) for name, column in findings.predictions.items() if name != "set"}
    sets = findings.predictions["set"]
    conditions = ["synthetic:uniform_noise", "synthetic:gaussian_noise", "synthetic:constant"]
    assert list(dict.fromkeys(sets)) == ["in", *conditions]
    for score in SCORES:
        found = {}
        for condition in conditions:
            found[condition] = detection(rows[score][sets == "in"], rows[score][sets == condition])
            for metric, value in found[condition].items():
                assert values(findings, condition)[f"{score}.{metric}"] == value
        for metric in METRICS:
            mean = sum(numbers[metric] for numbers in found.values()) / 3
            assert values(findings, "synthetic")[f"{score}.{metric}"] == pytest.approx(mean)
    assert {m.n for m in findings.measurements if m.condition in conditions} == {720}
    assert {m.n for m in findings.measurements if m.condition == "synthetic"} == {4 * 360}
    assert findings.measurements[0].condition == "synthetic"
    assert findings.details["k"] == 7
    json.dumps(findings.details, allow_nan=False)


def test_neither_batches_nor_the_global_generator_matter(where, device):
    classifier = net(HUG, 3).to(device).train()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    whole = ood(classifier, where)
    assert torch.equal(torch.get_rng_state(), state)
    assert classifier.training
    torch.manual_seed(6)
    parts = ood(classifier, replace(where, batch_size=77))
    for one, other in zip(whole.measurements, parts.measurements, strict=True):
        assert (one.metric, one.condition) == (other.metric, other.condition)
        assert one.value == pytest.approx(other.value, abs=2e-3)


def test_at_most_max_images_of_a_set_balanced(where, device, data):
    findings = ood(net().to(device), where, max_images=50)
    sets, index = findings.predictions["set"], findings.predictions["index"]
    assert [int((sets == name).sum()) for name in ("in", "synthetic:constant")] == [50, 50]
    inside = torch.as_tensor(index[sets == "in"])
    assert torch.bincount(data.test.targets[inside]).tolist() == [5] * 10


def test_sets_of_the_data_folder_are_asked_about_in_our_shape(where, device, tmp_path):
    from PIL import Image

    for part, count in (("train", 1), ("test", 3)):
        for label, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
            (tmp_path / "colours" / part / label).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (30, 20), colour).save(tmp_path / "colours" / part / label / f"{number}.png")
    findings = ood(net(CrossEntropy, 3).to(device), where, near=("colours",), synthetic=False)
    assert values(findings, "near") == values(findings, "near:colours")
    assert {m.n for m in findings.measurements} == {366}
    assert findings.details["sets"] == [{"set": "near:colours", "images": 6, "against": 360}]
    assert findings.notes[-1].endswith("data folder: fashion_mnist, cifar10, cifar100")


class TestStream:
    experiences = tuple(torch.tensor(labels) for labels in ([7, 2, 5], [0, 1, 3], [4, 6, 8, 9]))

    def at(self, where, experience):
        return replace(where, experiences=self.experiences, experience=experience)

    def test_unseen_classes_are_a_near_set(self, where, device, data):
        findings = ood(net(CrossEntropy, 3).to(device), self.at(where, 2))
        sets, index = findings.predictions["set"], torch.as_tensor(findings.predictions["index"])
        assert set(data.test.targets[index[sets == "in"]].tolist()) == {0, 1, 2, 3, 5, 7}
        assert set(data.test.targets[index[sets == "near:unseen"]].tolist()) == {4, 6, 8, 9}
        assert values(findings, "near") == values(findings, "near:unseen")
        assert findings.details["classes"] == [0, 1, 2, 3, 5, 7]
        fitted = int(torch.isin(data.validation.targets, torch.tensor([0, 1, 2, 3, 5, 7])).sum())
        assert findings.notes[0] == f"temperature fitted on {fitted} held-out training images"
        assert "near:unseen" in sets

    @pytest.mark.parametrize("experience", [0, 3])
    def test_before_and_after_all_there_is_nothing_unseen(self, where, device, experience):
        findings = ood(net(CrossEntropy, 3).to(device), self.at(where, experience))
        assert "near:unseen" not in findings.predictions["set"]
        assert values(findings, "synthetic") == values(
            ood(net(CrossEntropy, 3).to(device), where), "synthetic"
        )


def test_without_held_out_images_two_scores_are_left_out(device, tmp_path):
    where = Setting(digits_data(0), device, seed=0, data=tmp_path)
    findings = ood(net(HUG).to(device), where, k=5000)
    assert not [m for m in findings.measurements if "calibrated" in m.metric]
    assert findings.notes[:2] == [
        "no msp_calibrated and energy_calibrated: there are no held-out training images to fit a temperature "
        "on (dataset.validation is 0)",
        "knn takes the farthest of the 1437 training images: there are fewer than k = 5000",
    ]


def test_preflight_refuses_before_any_work(data, tmp_path):
    asked = {"near": (), "far": (), "synthetic": True, "k": 3, "max_images": 9}
    assert preflight(data, tmp_path, **asked).far == ()
    with pytest.raises(UserError, match="nothing is downloaded"):
        preflight(data, tmp_path, **{**asked, "far": ("svhn",)})
    with pytest.raises(UserError, match="no data set in the data folder is known"):
        preflight(data, tmp_path, **{**asked, "synthetic": False})
    with pytest.raises(UserError, match="no such folder"):
        (tmp_path / "half" / "train" / "a").mkdir(parents=True)
        preflight(data, tmp_path, **{**asked, "near": ("half",)})


def test_no_test_images_of_the_classes_in_play(data, device, tmp_path):
    empty = replace(data, test=data.test.subset(torch.empty(0, dtype=torch.int64)))
    with pytest.raises(UserError, match="no test images"):
        ood(net().to(device), Setting(empty, device, seed=0, data=tmp_path))
