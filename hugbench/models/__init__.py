"""What is trained: an image classifier whose head belongs to its criterion."""

from hugbench.models.assembly import build
from hugbench.models.classifier import Classifier, evaluating
from hugbench.models.weights import load_weights, packed, save

__all__ = ["Classifier", "build", "evaluating", "load_weights", "packed", "save"]
