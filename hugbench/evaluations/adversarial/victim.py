"""What an attack sees of a classifier: the logits of the classes in play, at a scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hugbench.models import Classifier


class Victim(nn.Module):
    """Images in [0, 1] to `scale` times the logits of some classes, in float32.

    Classes that are not in play (not seen yet, in a stream) are cut out, never masked with −inf: a
    mask makes losses of differences of logits, and so whole attacks, report everything robust. An
    attack's labels are places among `classes`; `place` translates.

    Args:
        classifier: in evaluation mode; it is held, not copied.
        classes: labels in play, int64 (K,), ascending; None for all.
        scale: what the logits are multiplied with. The predictions do not depend on it; the gradient
            of a cross-entropy does, and cosines at scale 1 hide it.
    """

    def __init__(self, classifier: Classifier, classes: Tensor | None = None, scale: float = 1.0) -> None:
        super().__init__()
        self.classifier = classifier
        self.classes = classes
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images (B, channels, H, W) in [0, 1]."""
        logits: Tensor = self.classifier(images.contiguous()).float()
        if self.classes is not None:
            logits = logits.index_select(1, self.classes.to(logits.device))
        return self.scale * logits

    @property
    def num_classes(self) -> int:
        """How many classes are in play."""
        return self.classifier.criterion.num_classes if self.classes is None else len(self.classes)

    def scaled(self, scale: float) -> Victim:
        """The same victim at another scale."""
        return Victim(self.classifier, self.classes, scale)

    def place(self, labels: Tensor) -> Tensor:
        """Places among the classes in play, int64 (B,), of labels that are all in play."""
        if self.classes is None:
            return labels
        return torch.searchsorted(self.classes.to(labels.device), labels)


def margins(logits: Tensor, targets: Tensor) -> Tensor:
    """The target's logit minus the largest other one, (B,): negative once an image is misclassified.

    Args:
        logits: (B, K), K at least 2.
        targets: places in [0, K), int64 (B,).
    """
    own = logits.gather(1, targets.unsqueeze(1)).squeeze(1)
    others = logits.scatter(1, targets.unsqueeze(1), -torch.inf)
    return own - others.amax(dim=1)


def fooled(logits: Tensor, targets: Tensor) -> Tensor:
    """Which images are not put first among all classes, bool (B,), as accuracy counts them (argmax)."""
    return logits.argmax(dim=1) != targets
