"""HUG, the Hyperspherical Uniformity Gap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from hugbench.criteria.base import Criterion
from hugbench.criteria.proxies import make_proxies
from hugbench.criteria.sphere import (
    check_exponent,
    full_precision,
    normalise,
    riesz_kernel,
    target_cosines,
    widen,
)
from hugbench.criteria.uniformity import (
    LARGEST_GRAM,
    gram_log_determinant,
    hyperspherical_energy,
    hyperspherical_separation,
)
from hugbench.types import NonNegative, Positive, PositiveInt

T = TypeVar("T")


@dataclass(frozen=True)
class Preset:
    """What the arguments of `HUG` that are left None become; alpha, beta and intra by uniformity."""

    alpha: Mapping[str, float]
    beta: Mapping[str, float]
    intra: Mapping[str, Literal["mhe", "mhs"]]
    s: float
    intra_s: float
    reduction: Literal["mean", "sum"]
    stop_gradient: bool
    start: Literal["uniform", "random"]


PRESETS = {
    "default": Preset(
        {"mhe": 1.0, "mhs": 0.05, "mgd": 1.0}, {"mhe": 3.0, "mhs": 3.0, "mgd": 3.0},
        {"mhe": "mhe", "mhs": "mhe", "mgd": "mhe"},
        s=2.0, intra_s=-4.0, reduction="mean", stop_gradient=True, start="uniform",
    ),
    "released": Preset(
        {"mhe": 1.0, "mhs": 1.0, "mgd": 1.0}, {"mhe": 1.0, "mhs": 1.0, "mgd": 1.0},
        {"mhe": "mhe", "mhs": "mhs", "mgd": "mhe"},
        s=2.0, intra_s=-1.0, reduction="mean", stop_gradient=True, start="random",
    ),
    "paper": Preset(
        {"mhe": 0.15, "mhs": 0.15, "mgd": 0.15}, {"mhe": 0.015, "mhs": 0.015, "mgd": 0.03},
        {"mhe": "mhe", "mhs": "mhs", "mgd": "mhe"},
        s=2.0, intra_s=-1.0, reduction="sum", stop_gradient=False, start="random",
    ),
}  # fmt: skip


class HUG(Criterion):
    """Hyperspherical Uniformity Gap: proxies spread over the sphere, features gather at their own.

    Equation:
        L = α · inter({ŵ_c}) + β · intra({x̂_i}, {ŵ_c}), with x̂ = x/‖x‖, ŵ = w/‖w‖, ρ the distance,
        K_s(ρ) = ρ^−s (s > 0), −log ρ (s = 0), −ρ^−s (s < 0).
        inter: mhe  mean (or Σ) over c ≠ c' of K_s(ρ(ŵ_c, ŵ_c'))
               mhs  −min over c ≠ c' of ρ(ŵ_c, ŵ_c')
               mgd  −log det G (divided by C for `mean`), G_cc' = exp(−eps² ‖ŵ_c − ŵ_c'‖²)
        intra: mhe  mean over the classes of the batch of the class's mean (or Σ_i) of ρ(x̂_i, ŵ_y_i)^−s
               mhs  mean (or Σ) over the classes of the batch of the class's max of ρ(x̂_i, ŵ_y_i)^−s
               with s = intra_s < 0
        Logits are the cosines ⟨x̂, ŵ_c⟩: the nearest proxy is predicted.

    Soft targets t: every image counts for class c with weight t_ic, a class is in the batch as
    far as min(1, Σ_i t_ic), and mhs takes the max of t_ic ρ_ic^−s. One-hot targets equal labels.

    Class weights v of the recipe multiply the classes' terms of intra; the mean over the classes of
    the batch becomes the weighted mean.

    A zero feature has cosine 0 with every proxy and gets no gradient.

    Args:
        preset: what the arguments left None become. `released`: the authors' code (alpha 1, beta 1,
            s 2, intra_s −1, mean, stop_gradient, random start). `paper`: its sums and weights (alpha
            0.15, beta 0.015 or with mgd 0.03, s 2, intra_s −1, sum, no stop_gradient, random start).
            `default`: trains at any batch size and class count (alpha 1 or with mhs 0.05, beta 3,
            s 2, intra_s −4, mean, stop_gradient, uniform start, intra mhe also with mhs), as
            baselines/README.md tells. From its start the proxies of C ≤ d + 1 classes are at the
            optimum that all three measures share: mhe and mgd leave them there, mhs moves the closest
            pair to and fro; with `start: random` the measures decide.
        uniformity: measure of the inter term.
        intra: measure of the intra term; None for that of `uniformity` (mhe with mgd), or for mhe in
            the preset `default`: with mhs only the worst image of a class in a batch is learnt from.
        alpha: weight of inter.
        beta: weight of intra. An image weighs β/B in a balanced batch of B with the mean, as in a
            batch mean such as cross-entropy's, and β with the sum: the paper's 0.015 at B = 512 is
            a mean's 7.7.
        s: exponent of the inter energy (mhe).
        intra_s: exponent of the intra distances, negative: −1 the distance itself, −2 its square.
        eps: inverse width of the Gaussian kernel (mgd).
        reduction: mean, as released, or sum, as in the paper: Σ over ordered pairs and over images.
        stop_gradient: intra moves the features only. None with orthogonal proxies is False.
        proxies: learnable vectors, a static uniform frame (a simplex for C ≤ d + 1), or an
            orthogonal one: that frame turned by a learnt rotation, which intra alone can move.
        start: where learnable proxies start, at a uniform frame or in random directions.
        distance: ρ is the chord, its square, or the angle in radians; mgd's kernel keeps the chord.
        classes: which proxies take part in inter: all, or those that `see` was told of.
        sampled: estimate mhe's inter from this many proxies, drawn anew at each call (unbiased).

    Source:
        Liu, Yu, Weller, Schölkopf, Generalizing and Decoupling Neural Collapse via Hyperspherical
        Uniformity Gap, ICLR 2023, arXiv 2303.06484.
    """

    bounded_logits: ClassVar[bool] = True
    by_class: ClassVar[tuple[str, ...]] = ("head.weight", "head.frame", "seen")
    weighting = "recipe"

    seen: Tensor
    _chosen: Tensor

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        preset: Literal["default", "released", "paper"] = "default",
        uniformity: Literal["mhe", "mhs", "mgd"] = "mhe",
        intra: Literal["mhe", "mhs"] | None = None,
        alpha: NonNegative | None = None,
        beta: NonNegative | None = None,
        s: float | None = None,
        intra_s: float | None = None,
        eps: Positive = 1.0,
        reduction: Literal["mean", "sum"] | None = None,
        stop_gradient: bool | None = None,
        proxies: Literal["learnable", "static", "orthogonal"] = "learnable",
        start: Literal["uniform", "random"] | None = None,
        distance: Literal["chord", "squared_chord", "angle"] = "chord",
        classes: Literal["all", "seen"] = "all",
        sampled: PositiveInt | None = None,
    ) -> None:
        super().__init__(in_features, num_classes)
        _check_choices(locals())
        chosen = PRESETS[preset]
        self.preset, self.uniformity, self.eps, self.distance = preset, uniformity, eps, distance
        self.classes, self.sampled = classes, sampled
        self.intra = _given(intra, chosen.intra[uniformity])
        self.alpha = _given(alpha, chosen.alpha[uniformity])
        self.beta = _given(beta, chosen.beta[uniformity])
        self.s = _given(s, chosen.s)
        self.intra_s = _given(intra_s, chosen.intra_s)
        self.reduction = _given(reduction, chosen.reduction)
        self.stop_gradient = _given(stop_gradient, chosen.stop_gradient and proxies != "orthogonal")
        self.start = _given(start, chosen.start if proxies == "learnable" else "uniform")
        self.proxy_kind = proxies
        _check(self)
        self.head: nn.Module = make_proxies(proxies, self.start, num_classes, in_features)
        self.register_buffer("seen", torch.full((num_classes,), classes == "all"))
        self.register_buffer("_chosen", self.seen.nonzero().flatten(), persistent=False)
        self.register_load_state_dict_post_hook(_choose)  # type: ignore[no-untyped-call]

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """alpha · inter + beta · intra, a scalar, float32 at least."""
        with full_precision(features):
            proxies = self.proxies()
            fixed = proxies.detach() if self.stop_gradient else proxies
            return self.alpha * self._inter(proxies) + self.beta * self._intra(features, fixed, targets)

    def logits(self, features: Tensor) -> Tensor:
        """Cosines (B, num_classes) in [−1, 1], float32 at least."""
        with full_precision(features):
            return normalise(features) @ self.proxies().T

    def proxies(self) -> Tensor:
        """Unit proxies (num_classes, in_features)."""
        return normalise(self.head())

    def see(self, classes: Iterable[int] | Tensor) -> None:
        """Add classes to those whose proxies take part in inter (with `classes: seen`).

        Raises:
            ValueError: a class out of range.
        """
        labels = torch.as_tensor(classes if isinstance(classes, Tensor) else list(classes), dtype=torch.int64)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ValueError(
                f"classes: expected labels in [0, {self.num_classes}), "
                f"found {int(labels.min())} to {int(labels.max())}"
            )
        self.seen[labels.to(self.seen.device)] = True
        _choose(self)

    def start_training(self, class_counts: Tensor) -> None:
        """See the classes that have training images."""
        self.see(class_counts.nonzero().flatten())

    def no_weight_decay(self) -> set[str]:
        """The proxies' length means nothing, and a rotation has no preferred value."""
        return {f"head.{name}" for name, _ in self.head.named_parameters()}

    def extra_repr(self) -> str:
        """All arguments as resolved."""
        shown = ["preset", "uniformity", "intra", "alpha", "beta", "s", "intra_s", "eps", "reduction"]
        shown += ["stop_gradient", "proxies", "start", "distance", "classes", "sampled"]
        values = {**vars(self), "proxies": self.proxy_kind}
        return ", ".join([super().extra_repr(), *(f"{name}={values[name]!r}" for name in shown)])

    def _rows(self, classes: Tensor) -> dict[str, Tensor]:
        rows = super()._rows(classes)
        return {**rows, "_chosen": rows["seen"].nonzero().flatten()}

    def _inter(self, proxies: Tensor) -> Tensor:
        if self.classes == "seen":
            if not len(self._chosen):
                raise ValueError(
                    "classes: expected see(classes) before the first loss with 'seen', found none seen"
                )
            proxies = proxies.index_select(0, self._chosen)
        count = len(proxies)
        if count < 2:
            return proxies.new_zeros(())
        if self.uniformity == "mhs":
            return -hyperspherical_separation(proxies, distance=self.distance, on_sphere=True)
        if self.uniformity == "mgd":
            total = -gram_log_determinant(proxies, self.eps, on_sphere=True)
            return total / count if self.reduction == "mean" else total
        energy = hyperspherical_energy(
            proxies, self.s, distance=self.distance, sampled=self.sampled, on_sphere=True
        )
        return energy if self.reduction == "mean" else energy * (count * (count - 1))

    def _intra(self, features: Tensor, proxies: Tensor, targets: Tensor) -> Tensor:
        features = widen(features)
        if targets.is_floating_point():
            cost = -riesz_kernel(normalise(features) @ proxies.T, self.intra_s, self.distance)
            weights = targets.to(cost)
            mass, cost = weights.sum(0), weights * cost
            total = cost.sum(0) if self.intra == "mhe" else cost.amax(0)
        else:
            cost = -riesz_kernel(target_cosines(features, proxies, targets), self.intra_s, self.distance)
            none = cost.new_zeros(self.num_classes)
            mass = none.index_add(0, targets, torch.ones_like(cost))
            total = (
                none.index_add(0, targets, cost)
                if self.intra == "mhe"
                else none.scatter_reduce(0, targets, cost, "amax")
            )
        present = mass.clamp_max(1)
        if self.reduction == "mean" and self.intra == "mhe":
            total = total / mass.clamp_min(1)
        if self.recipe_weights is not None:
            weights = self.recipe_weights.to(total)
            total, present = weights * total, weights * present
        return total.sum() if self.reduction == "sum" else total.sum() / present.sum()


def _given(value: T | None, otherwise: T) -> T:
    return otherwise if value is None else value


def _check_choices(arguments: Mapping[str, object]) -> None:
    """Refuse a value that the constructor's annotation, a Literal, does not list."""
    for name, hint in get_type_hints(HUG.__init__).items():
        literals = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
        choices = [choice for literal in literals for choice in get_args(literal)]
        allowed = [*choices, None] if type(None) in get_args(hint) else choices
        if choices and arguments[name] not in allowed:
            raise ValueError(f"{name}: expected one of {', '.join(choices)}, found {arguments[name]!r}")


def _check(hug: HUG) -> None:
    """Refuse values that cannot be, in terms of the argument's name."""
    for name in ("alpha", "beta"):
        value = getattr(hug, name)
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name}: expected a finite number of at least 0, found {value}")
    if not 0 < hug.eps < float("inf"):
        raise ValueError(f"eps: expected a positive finite number, found {hug.eps}")
    check_exponent("s", hug.s, hug.distance)
    check_exponent("intra_s", hug.intra_s, hug.distance)
    if hug.intra_s >= 0:
        raise ValueError(f"intra_s: expected below 0, found {hug.intra_s}")
    if hug.uniformity == "mgd" and hug.num_classes > LARGEST_GRAM:
        raise ValueError(f"num_classes: expected at most {LARGEST_GRAM} with mgd, found {hug.num_classes}")
    if hug.sampled is not None and hug.uniformity != "mhe":
        raise ValueError(
            f"sampled: expected None with {hug.uniformity}, which no sample estimates, found {hug.sampled}"
        )
    if hug.sampled is not None and hug.sampled < 2:
        raise ValueError(f"sampled: expected at least 2, found {hug.sampled}")
    if hug.proxy_kind != "learnable" and hug.start == "random":
        raise ValueError(f"start: expected 'uniform' with {hug.proxy_kind} proxies, found 'random'")
    if hug.proxy_kind == "orthogonal" and hug.stop_gradient:
        raise ValueError(
            "stop_gradient: expected False with orthogonal proxies, which intra alone turns, found True"
        )


def _choose(hug: HUG, _: Any = None) -> None:
    """Bring the index of the seen classes up to date."""
    hug._chosen = hug.seen.nonzero().flatten()
