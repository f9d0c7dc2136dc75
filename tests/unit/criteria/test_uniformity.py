"""Uniformity of sets: against loops over pairs, against known optima, at degenerate sets."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hugbench.criteria import uniformity
from hugbench.criteria.uniformity import (
    gram_log_determinant,
    hyperspherical_energy,
    hyperspherical_separation,
    normalise,
)

EXPONENTS = [4.0, 2.0, 1.0, 0.5, 0.0, -0.5, -1.0, -3.0]
DISTANCES = ["chord", "squared_chord", "angle"]
FUNCTIONS = [hyperspherical_energy, hyperspherical_separation, gram_log_determinant]
THOMSON = {
    4: 3.674234614,
    5: 6.474691495,
    6: 9.985281374,
    7: 14.452977414,
    11: 40.596450508,
    12: 49.165253058,
}
TAMMES = {4: 109.4712206, 7: 77.8695421, 10: 66.1468220, 12: 63.4349488, 24: 43.6907671}


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_distances(x: Tensor, distance: str) -> list[float]:
    unit = [row / np.linalg.norm(row) for row in x.numpy()]
    chords = [float(np.linalg.norm(u - v)) for u, v in itertools.combinations(unit, 2)]
    measure = {
        "chord": lambda r: r,
        "squared_chord": lambda r: r * r,
        "angle": lambda r: 2 * math.asin(r / 2),
    }
    return [measure[distance](chord) for chord in chords]


def slow_kernel(rho: float, s: float) -> float:
    if s == 0:
        return -math.log(rho)
    return rho**-s if s > 0 else -(rho**-s)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("s", EXPONENTS)
def test_energy_equals_a_loop_over_pairs(s, distance):
    x = points(7, 3)
    terms = [slow_kernel(rho, s) for rho in slow_distances(x, distance)]
    assert hyperspherical_energy(x, s, distance=distance).item() == pytest.approx(np.mean(terms), rel=1e-10)
    total = hyperspherical_energy(x, s, distance=distance, reduction="sum")
    assert total.item() == pytest.approx(sum(terms), rel=1e-10)


@pytest.mark.parametrize("distance", DISTANCES)
def test_separation_equals_a_loop_over_pairs(distance):
    for seed in range(5):
        x = points(9, 4, seed=seed)
        expected = min(slow_distances(x, distance))
        assert hyperspherical_separation(x, distance=distance).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("eps", [0.5, 1.0, 3.0])
def test_log_determinant_equals_a_loop_over_pairs(eps):
    unit = normalise(points(6, 3)).numpy()
    gram = [[math.exp(-(eps**2) * float(((u - v) ** 2).sum())) for v in unit] for u in unit]
    expected = np.linalg.slogdet(np.array(gram))[1]
    assert gram_log_determinant(torch.tensor(unit), eps).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("s", EXPONENTS)
def test_energy_gradient_equals_finite_differences(s, distance):
    x = points(2, 5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: hyperspherical_energy(z, s, distance=distance), x)


@pytest.mark.parametrize("distance", DISTANCES)
def test_separation_gradient_equals_finite_differences(distance):
    x = points(2, 5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: hyperspherical_separation(z, distance=distance), x)


def test_log_determinant_gradient_equals_finite_differences():
    assert torch.autograd.gradcheck(lambda z: gram_log_determinant(z, 0.8), points(2, 5, 3).requires_grad_())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_leading_dimensions_are_sets_of_their_own(function):
    x = points(2, 3, 6, 4).requires_grad_()
    together = function(x)
    (gradient,) = torch.autograd.grad(together.sum(), x)
    assert together.shape == (2, 3)
    for i, j in itertools.product(range(2), range(3)):
        alone = x.detach()[i, j].clone().requires_grad_()
        torch.testing.assert_close(together[i, j], function(alone))
        torch.testing.assert_close(gradient[i, j], torch.autograd.grad(function(alone), alone)[0])


@pytest.mark.parametrize("n", [7, 8, 9, 20])
@pytest.mark.parametrize("function", [hyperspherical_energy, hyperspherical_separation])
def test_blocks_give_what_one_block_gives(function, n, monkeypatch):
    x = points(2, n, 5).requires_grad_()
    whole = function(x)
    (whole_gradient,) = torch.autograd.grad(whole.sum(), x)
    monkeypatch.setattr(uniformity, "BLOCK", 4)
    blocks = function(x)
    torch.testing.assert_close(blocks, whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(blocks.sum(), x)[0], whole_gradient, rtol=1e-10, atol=1e-14
    )


@pytest.mark.parametrize("n", [4, 9, 20])
@pytest.mark.parametrize("threads", [1, 2, 3, None], ids=lambda t: f"{t or 'no'} threads")
@pytest.mark.parametrize("function", FUNCTIONS)
def test_tiles_of_any_width_give_the_same(function, threads, n, monkeypatch):
    """Wider with more threads, and whole bands where there are no caches to fit (as while compiling)."""
    x = points(n, 5).requires_grad_()
    whole = function(x)
    (whole_gradient,) = torch.autograd.grad(whole, x)
    monkeypatch.setattr(uniformity, "BLOCK", 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: threads is None)
    tiles = function(x)
    torch.testing.assert_close(tiles, whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.autograd.grad(tiles, x)[0], whole_gradient, rtol=1e-9, atol=1e-12)


def peak_bytes(call, device: torch.device, tmp_path) -> int:
    """The most that torch's allocator held for a call, beyond what was there before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as recorded:
        call()
    recorded.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    return max(itertools.accumulate(size for _, size in changes))


@pytest.mark.parametrize("function", [hyperspherical_energy, hyperspherical_separation])
def test_memory_grows_with_the_points_not_with_the_pairs(function, device, tmp_path):
    n, d = 4096, 16
    x = torch.randn(n, d, device=device, requires_grad=True)
    function(x[:10]).backward()
    peak = peak_bytes(lambda: function(x).backward(), device, tmp_path)
    assert x.nbytes < peak < 4 * n * n / 2


@pytest.mark.parametrize("m", [2, 3])
def test_sampled_energy_is_unbiased(m, monkeypatch):
    """The mean over every order that the permutation can have is the energy of all points."""
    x = points(4, 3).requires_grad_()
    values, gradients = [], []
    for order in itertools.permutations(range(4)):
        monkeypatch.setattr(
            torch, "randperm", lambda n, device, order=order: torch.tensor(order, device=device)
        )
        values.append(hyperspherical_energy(x, 2.0, reduction="sum", sampled=m))
        gradients.append(torch.autograd.grad(values[-1], x)[0])
    exact = hyperspherical_energy(x, 2.0, reduction="sum")
    torch.testing.assert_close(torch.stack(values).mean(), exact)
    torch.testing.assert_close(torch.stack(gradients).mean(0), torch.autograd.grad(exact, x)[0])
    assert torch.stack(values).std() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_float32_inside_autocast(function, dtype, device):
    x = points(8, 4).to(device=device, dtype=dtype)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        inside = function(x)
    assert inside.dtype == torch.float32
    assert inside.device.type == device.type
    torch.testing.assert_close(inside, function(x.float()), rtol=0, atol=0)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_float32_is_accurate(function):
    for seed in range(5):
        x = points(20, 8, seed=seed).float()
        torch.testing.assert_close(function(x).double(), function(x.double()), rtol=1e-5, atol=1e-6)


def precisions(monkeypatch) -> list[torch.dtype]:
    """The precision of every Cholesky factorisation from now on."""
    found, real = [], torch.linalg.cholesky_ex

    def noted(matrix: Tensor):
        found.append(matrix.dtype)
        return real(matrix)

    monkeypatch.setattr(torch.linalg, "cholesky_ex", noted)
    return found


def value_and_gradient(x: Tensor, eps: float = 1.0) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    value = gram_log_determinant(x, eps)
    return value.detach(), torch.autograd.grad(value.sum(), x)[0]


@pytest.mark.parametrize(("n", "d", "eps"), [(256, 12, 1.0), (300, 64, 1.0), (300, 20, 3.0), (600, 128, 0.8)])
def test_large_log_determinants_stay_in_float32_where_that_is_accurate(n, d, eps, monkeypatch, device):
    used = precisions(monkeypatch)
    x = points(n, d).float().to(device)
    value, gradient = value_and_gradient(x, eps)
    assert (used, value.dtype, gradient.dtype) == ([torch.float32], torch.float32, torch.float32)
    exact, exact_gradient = value_and_gradient(x.double(), eps)
    assert abs(value.double() - exact) < 1e-7 * n
    assert (gradient.double() - exact_gradient).norm() < 1e-4 * exact_gradient.norm()


@pytest.mark.parametrize(("n", "d", "eps"), [(256, 3, 1.0), (300, 64, 0.1), (300, 10, 1.0), (300, 10, 9.0)])
def test_large_log_determinants_go_to_float64_near_singular_matrices(n, d, eps, monkeypatch):
    used = precisions(monkeypatch)
    x = normalise(points(n, d).float())
    value, gradient = value_and_gradient(x, eps)
    assert used == [torch.float32, torch.float64]
    exact, exact_gradient = value_and_gradient(x.double(), eps)
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-6)
    assert (gradient.double() - exact_gradient).norm() < 1e-2 * exact_gradient.norm()


def test_large_log_determinants_of_many_sets():
    x = torch.cat([points(2, 260, 30), points(1, 260, 3).repeat(1, 1, 10)]).float()
    value, gradient = value_and_gradient(x)
    for i in range(3):
        alone, alone_gradient = value_and_gradient(x[i])
        torch.testing.assert_close(value[i], alone, rtol=1e-6, atol=0)
        assert (gradient[i] - alone_gradient).norm() < 1e-4 * alone_gradient.norm()


def test_large_log_determinants_without_gradient_are_the_same():
    x = points(260, 30).float()
    assert torch.equal(gram_log_determinant(x), value_and_gradient(x)[0])


@pytest.mark.parametrize(("n", "d"), [(50, 2), (100, 3), (256, 3), (600, 4)])
def test_singular_matrices_of_float32_points_have_a_log_determinant(n, d):
    x = points(n, d).float()
    value, gradient = value_and_gradient(x)
    exact, exact_gradient = value_and_gradient(x.double())
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    assert (gradient.double() - exact_gradient).norm() < 1e-3 * exact_gradient.norm()


@pytest.mark.parametrize("which", ["coincident", "zero", "antipodal"])
def test_large_log_determinants_are_finite_at_degenerate_sets(which):
    x = points(300, 16).float()
    x = {"coincident": x[:1].expand(300, 16), "zero": x * 0, "antipodal": torch.cat([x[:150], -x[:150]])}[
        which
    ]
    for some in (x, torch.cat([x[:2], x[:1], points(300, 16, seed=1).float()])):
        value, gradient = value_and_gradient(some)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


def test_a_large_log_determinant_of_nan_is_nan():
    x = points(300, 16).float()
    x[7, 3] = math.nan
    assert gram_log_determinant(x).isnan()


def degenerate_sets() -> dict[str, Tensor]:
    x = points(6, 3)
    return {
        "coincident": x[:1].expand(6, 3),
        "two coincident": torch.cat([x[:1], x[:1], x[1:]]),
        "nearly coincident": x[:1] + 1e-9 * points(6, 3, seed=1),
        "antipodal": torch.cat([x[:3], -x[:3]]),
        "zero": torch.zeros(6, 3, dtype=torch.float64),
        "one zero": torch.cat([x[:5], torch.zeros(1, 3, dtype=torch.float64)]),
        "huge": x * 1e15,
        "tiny": x * 1e-15,
        "one point twice": torch.cat([x[:1], x[:1]]),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("which", degenerate_sets())
def test_finite_at_degenerate_sets(which, dtype):
    functions = [
        *(lambda z, s=s, d=d: hyperspherical_energy(z, s, distance=d)
          for s in (8.0, 2.0, 0.0, -1.0, -64.0) for d in ("chord", "angle")),
        *(lambda z, s=s: hyperspherical_energy(z, s, distance="squared_chord") for s in (4.0, 0.0, -32.0)),
        *(lambda z, d=d: hyperspherical_separation(z, distance=d) for d in DISTANCES),
        *(lambda z, eps=eps: gram_log_determinant(z, eps) for eps in (1e-3, 1.0, 1e3)),
    ]  # fmt: skip
    for function in functions:
        x = degenerate_sets()[which].to(dtype).clone().requires_grad_()
        value = function(x)
        assert torch.isfinite(value)
        assert torch.isfinite(torch.autograd.grad(value, x)[0]).all()


def test_zero_vectors_are_perpendicular_to_everything():
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert hyperspherical_separation(x).item() == pytest.approx(2**0.5)
    assert hyperspherical_energy(x, 2.0).item() == pytest.approx(0.5)


def test_nearly_coincident_points_part():
    x = torch.tensor([[1.0, 0.0], [1.0, 1e-4]]).requires_grad_()
    (gradient,) = torch.autograd.grad(hyperspherical_energy(x), x)
    assert gradient[0, 1] > 0 > gradient[1, 1]


def test_fewer_than_two_points():
    assert hyperspherical_energy(points(1, 3)).item() == 0
    with pytest.raises(ValueError, match="at least 2 points, found 1"):
        hyperspherical_separation(points(1, 3))


@pytest.mark.parametrize(
    ("s", "distance"), [(9, "chord"), (5, "squared_chord"), (-65, "angle"), (math.nan, "chord")]
)
def test_an_exponent_that_overflows_is_refused(s, distance):
    with pytest.raises(ValueError, match="s: expected between"):
        hyperspherical_energy(points(4, 3), s, distance=distance)


@pytest.mark.parametrize("eps", [0.0, -1.0, math.inf, math.nan])
def test_a_kernel_without_width_is_refused(eps):
    with pytest.raises(ValueError, match="eps: expected positive"):
        gram_log_determinant(points(4, 3), eps)


def test_too_many_points_for_a_determinant_are_refused(monkeypatch):
    monkeypatch.setattr(uniformity, "LARGEST_GRAM", 3)
    with pytest.raises(ValueError, match="at most 3 points, found 4"):
        gram_log_determinant(points(4, 3))


def test_a_sample_of_one_is_refused():
    with pytest.raises(ValueError, match="sampled: expected at least 2, found 1"):
        hyperspherical_energy(points(4, 3), sampled=1)


def minimum(objective, n: int, d: int, restarts: int = 4) -> float:
    """The smallest value over restarts that run side by side, by L-BFGS."""
    x = points(restarts, n, d).requires_grad_()
    search = torch.optim.LBFGS(
        [x], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-9, tolerance_change=1e-13
    )

    def total() -> Tensor:
        search.zero_grad()
        value = objective(x).sum()
        value.backward()
        return value

    search.step(total)
    return objective(x.detach()).min().item()


@pytest.mark.parametrize(("n", "d"), [(4, 3), (4, 5), (10, 9), (30, 40)])
@pytest.mark.parametrize("s", [2.0, 1.0, 0.0, -1.0])
def test_energy_reaches_the_simplex(n, d, s):
    expected = slow_kernel((2 * n / (n - 1)) ** 0.5, s)
    found = minimum(lambda x: hyperspherical_energy(x, s), n, d, restarts=1)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("n", "d", "expected"),
    [
        *[(6, 3, 0.45), (10, 5, 0.472222), (20, 10, 0.486842)],
        *[(10, 2, 0.916667), (12, 3, 0.590909), (16, 5, 0.520833), (27, 6, 0.538462)],
    ],
)
def test_energy_reaches_the_cross_polytope_the_icosahedron_and_their_like(n, d, expected):
    assert minimum(hyperspherical_energy, n, d) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("n", THOMSON)
def test_energy_solves_thomsons_problem(n):
    found = minimum(lambda x: hyperspherical_energy(x, 1.0, reduction="sum"), n, 3)
    assert found == pytest.approx(THOMSON[n], rel=1e-4)


@pytest.mark.parametrize(("n", "expected"), [(4, -0.026707), (10, -0.351590), (40, None)])
def test_log_determinant_reaches_the_simplex(n, expected):
    k = math.exp(-2 * n / (n - 1))
    optimum = (n - 1) * math.log(1 - k) + math.log(1 + (n - 1) * k)
    assert expected is None or optimum == pytest.approx(expected, abs=1e-6)
    found = -minimum(lambda x: -gram_log_determinant(x), n, n - 1, restarts=1)
    assert found == pytest.approx(optimum, rel=1e-4)


def widest(n: int, d: int, steps: int = 1000, restarts: int = 32) -> float:
    """The largest separation in degrees, by subgradient ascent with shrinking steps."""
    x = normalise(points(restarts, n, d))
    best = torch.zeros(restarts, dtype=torch.float64)
    for step in range(steps):
        separation = hyperspherical_separation(x.requires_grad_(), distance="angle")
        best = torch.maximum(best, separation.detach())
        (gradient,) = torch.autograd.grad(separation.sum(), x)
        x = normalise(x.detach() + 0.3 * 1e-5 ** (step / steps) * gradient)
    return math.degrees(best.max().item())


@pytest.mark.parametrize("n", TAMMES)
def test_separation_solves_tammes_problem(n):
    assert widest(n, 3, steps=2500 if n > 20 else 1000) == pytest.approx(TAMMES[n], rel=1e-4)


@pytest.mark.parametrize(("n", "d"), [(6, 5), (8, 4)])
def test_separation_reaches_simplex_and_rankins_bound(n, d):
    expected = math.degrees(math.acos(-1 / (n - 1))) if n <= d + 1 else 90
    assert widest(n, d) == pytest.approx(expected, rel=1e-4)
