"""HUG outside hugbench: a timm backbone in a loop of one's own, against cross-entropy on digits."""

from __future__ import annotations

import argparse

import timm
import timm.optim
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from hugbench import HUG, Classifier
from hugbench.criteria.softmax import CrossEntropy

CLASSES, WIDTH, TRAIN, BATCH = 10, 64, 1200, 64
CRITERIA = {"cross_entropy": CrossEntropy, "hug": HUG}


def data() -> tuple[Tensor, Tensor]:
    """The 1,797 digits in a fixed random order: images (N, 1, 16, 16) in [0, 1] and labels (N,)."""
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    small = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    return nn.functional.interpolate(small, scale_factor=2.0)[order], torch.tensor(labels)[order]


def train(name: str, images: Tensor, labels: Tensor, epochs: int) -> Classifier:
    """The classifier after training with the criterion of that name."""
    torch.manual_seed(0)
    backbone = timm.create_model("test_resnet", in_chans=1, num_classes=0)
    criterion = CRITERIA[name](WIDTH, CLASSES)  # the loss, which owns the head: HUG has its proxies
    embedding = nn.Linear(backbone.num_features, WIDTH)  # HUG needs features of either sign
    model = Classifier(backbone, criterion, mean=[0.3], std=[0.4], embedding=embedding)
    optimizer = timm.optim.create_optimizer_v2(model, "momentum", lr=0.1, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * (TRAIN // BATCH))
    for _ in range(epochs):
        for chosen in torch.randperm(TRAIN)[: TRAIN // BATCH * BATCH].split(BATCH):
            optimizer.zero_grad()
            model.loss(images[chosen], labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def main(epochs: int) -> None:
    """Train with each criterion and print its accuracy on the images left out."""
    images, labels = data()
    for name in CRITERIA:
        model = train(name, images[:TRAIN], labels[:TRAIN], epochs)
        with torch.no_grad():
            right = (model(images[TRAIN:]).argmax(1) == labels[TRAIN:]).float().mean().item()
        print(f"{name:<14}{right:7.2%} of {len(labels) - TRAIN} images")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="HUG against cross-entropy in a plain loop.")
    parser.add_argument("--epochs", type=int, default=10)
    main(parser.parse_args().epochs)
