"""The classifier and how it is built, on several families of timm."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import timm
import torch
from torch import nn

from hugbench.criteria.hug import HUG
from hugbench.criteria.softmax import CrossEntropy
from hugbench.errors import CorruptFile, UserError
from hugbench.models import Classifier, build, evaluating, load_weights, save
from hugbench.seeding import seed_everything
from hugbench.suite.schema import ModelSpec

CLASSES = 5


class Product(CrossEntropy):
    """A loss that takes features and autocast as they come."""

    def forward(self, features, targets):
        return (features @ self.weight.T.to(features.dtype)).square().mean()


def built(
    backbone="test_resnet", criterion=CrossEntropy, *, channels=3, size=(32, 32), seed=0, std=0.25, **spec
):
    spec = ModelSpec(**{"backbone": backbone, "embedding_dim": 16, **spec})
    return build(
        spec,
        lambda width: criterion(width, CLASSES),
        channels=channels,
        image_size=size,
        mean=(0.5,) * channels,
        std=(std,) * channels,
        seed=seed,
    )


def images(count=4, channels=3, size=(32, 32), device="cpu"):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, *size, generator=generator).to(device)


def global_draws():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


class TestFamilies:
    @pytest.mark.parametrize(
        "backbone",
        [
            "convnext_atto",
            "lcnet_035",
            "swin_tiny_patch4_window7_224",
            "test_byobnet",
            "test_efficientnet",
            "test_nfnet",
            "test_resnet",
            "test_vit",
            "vit_tiny_patch16_224",
        ],
    )
    @pytest.mark.parametrize("channels", [1, 3])
    def test_takes_small_images(self, backbone, channels, device):
        classifier = built(backbone, channels=channels).to(device)
        loss = classifier.loss(images(channels=channels, device=device), torch.arange(4, device=device))
        loss.backward()
        assert classifier(images(channels=channels, device=device)).shape == (4, CLASSES)
        assert torch.isfinite(loss)
        assert classifier.embedding.weight.grad.abs().sum() > 0

    @pytest.mark.parametrize(
        ("backbone", "first_stage"),
        [
            ("resnet18", "layer1"),
            ("test_resnet", "layer1"),
            ("resnetblur18", "layer1"),
            ("resnetv2_18", "stages"),
            ("resnetv2_50x1_bit", "stages"),
            ("legacy_seresnet18", "layer1"),
            ("densenet121", "features.denseblock1"),
            ("dpn48b", "features.conv2_1"),
            ("test_efficientnet", "blocks"),
            ("lcnet_035", "blocks"),
            ("regnetx_002", "s1"),
        ],
    )
    def test_cifar_stem_keeps_the_image_size(self, backbone, first_stage):
        classifier = built(backbone, stem="cifar", size=(16, 16))
        seen = []
        stage = classifier.backbone.get_submodule(first_stage)
        stage.register_forward_pre_hook(lambda _, args: seen.append(tuple(torch.as_tensor(args[0]).shape)))
        classifier(images(size=(16, 16)))
        assert seen[0][2:] == (16, 16)
        first = next(part for part in classifier.backbone.modules() if isinstance(part, nn.Conv2d))
        plain = timm.create_model(backbone)
        was = next(part for part in plain.modules() if isinstance(part, nn.Conv2d))
        assert (first.kernel_size, first.stride) == ((3, 3), (1, 1))
        assert (type(first), first.out_channels) == (type(was), was.out_channels)

    def test_cifar_stem_is_initialised_over_its_outputs(self):
        weight = built("resnet18", stem="cifar").backbone.conv1.weight
        assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)

    def test_a_family_without_a_cifar_stem_is_refused(self):
        with pytest.raises(UserError, match=r"model\.stem.*test_vit.*ResNet.*DenseNet"):
            built("test_vit", stem="cifar")

    def test_an_image_too_small_is_refused(self):
        with pytest.raises(UserError, match=r"csatv2 .*32x32 pixels with 3 channels .*Kernel size") as caught:
            built("csatv2")
        assert caught.value.key == "model.backbone"

    def test_a_size_that_the_patches_do_not_divide_is_refused(self):
        with pytest.raises(UserError, match=r"test_vit .*20x32 pixels.*divisible by patch size"):
            built("test_vit", size=(20, 32))

    def test_no_pooled_features_are_refused(self, monkeypatch):
        monkeypatch.setattr(timm, "create_model", lambda *_, **__: nn.Identity())
        with pytest.raises(UserError, match=r"no pooled features; found \(2, 3, 32, 32\)"):
            built()

    def test_an_unknown_backbone_is_refused(self):
        with pytest.raises(UserError, match="did you mean 'resnet18'"):
            built("reznet18")


class TestSpec:
    def test_embedding_dim(self):
        assert built(embedding_dim=7).criterion.in_features == 7
        whole = built(embedding_dim=None)
        assert whole.features(images()).shape == (4, whole.criterion.in_features)
        assert whole.criterion.in_features == whole.backbone.num_features

    def test_the_width_is_what_comes_out_not_what_is_claimed(self):
        classifier = built("lcnet_035", embedding_dim=None)
        assert classifier.criterion.in_features == 1280 != classifier.backbone.num_features

    def test_drop_rate_is_before_the_embedding_and_only_there(self):
        classifier = built("ghostnet_050", drop_rate=0.5)
        assert timm.create_model("ghostnet_050").drop_rate > 0
        assert classifier.backbone.drop_rate == 0
        assert classifier.dropout.p == 0.5
        pooled, dropped = [], []
        classifier.dropout.register_forward_pre_hook(lambda _, args: pooled.append(args[0]))
        classifier.embedding.register_forward_pre_hook(lambda _, args: dropped.append(args[0]))
        classifier(images(32))
        kept = dropped[0][pooled[0] != 0] != 0
        assert 0.45 < kept.float().mean() < 0.55
        classifier.eval()(images(32))
        assert torch.equal(pooled[1], dropped[1])

    def test_drop_path_rate(self):
        rates = [getattr(part, "drop_prob", 0) for part in built(drop_path_rate=0.2).backbone.modules()]
        assert max(rates) == pytest.approx(0.2)
        with pytest.raises(UserError, match=r"model\.drop_path_rate.*vgg11 has no stochastic depth"):
            built("vgg11", drop_path_rate=0.2)

    def test_pretrained_without_weights_is_refused(self):
        with pytest.raises(UserError, match=r"model\.pretrained.*lcnet_035.*No pretrained weights exist"):
            built("lcnet_035", pretrained=True)

    def test_pretrained_without_a_network_is_refused(self, monkeypatch):
        def offline(*_, **__):
            raise FileNotFoundError("cannot find the requested files in the local cache")

        monkeypatch.setattr(timm, "create_model", offline)
        with pytest.raises(UserError, match=r"model\.pretrained.*test_resnet.*local cache"):
            built(pretrained=True)

    def test_an_unknown_tag_is_refused(self):
        with pytest.raises(UserError, match=r"model\.backbone.*Invalid pretrained tag"):
            built("resnet18.no_such_tag")


class TestSeeds:
    def test_the_backbone_does_not_depend_on_the_criterion(self):
        plain, hug = built(criterion=CrossEntropy).state_dict(), built(criterion=HUG).state_dict()
        shared = [name for name in plain if not name.startswith("criterion.")]
        assert {name.partition(".")[0] for name in shared} == {"backbone", "embedding", "mean", "std"}
        assert all(torch.equal(plain[name], hug[name]) for name in shared)

    def test_backbone_and_criterion_have_axes_of_their_own(self):
        classifier = built(seed=7)
        seed_everything(7, "initialisation", "backbone")
        backbone = timm.create_model("test_resnet", num_classes=0)
        seed_everything(7, "initialisation", "criterion")
        criterion = CrossEntropy(16, CLASSES)
        for part, alone in ((classifier.backbone, backbone), (classifier.criterion, criterion)):
            expected = alone.state_dict()
            assert all(torch.equal(tensor, expected[name]) for name, tensor in part.state_dict().items())

    def test_seeds_differ_in_all_that_is_drawn(self):
        one, two = built(seed=0).state_dict(), built(seed=1).state_dict()
        again = built(seed=0).state_dict()
        assert all(torch.equal(one[name], again[name]) for name in one)
        for name in ("backbone.conv1.0.weight", "embedding.weight", "criterion.weight"):
            assert not torch.equal(one[name], two[name])

    def test_the_cifar_stem_is_drawn_from_the_seed(self):
        stems = [built(seed=seed, stem="cifar").backbone.conv1[0].weight for seed in (0, 0, 1)]
        assert torch.equal(stems[0], stems[1])
        assert not torch.equal(stems[0], stems[2])

    def test_the_global_generators_stay_where_they_are(self):
        seed_everything(3, "somewhere")
        before = global_draws()
        built()
        assert global_draws() == before
        with pytest.raises(UserError):
            built("test_vit", size=(20, 32))
        assert global_draws() == before

    def test_a_built_model_is_in_training_mode_and_has_seen_no_image(self):
        classifier = built(stem="cifar")
        assert all(part.training for part in classifier.modules())
        norm = classifier.backbone.bn1
        assert norm.num_batches_tracked == 0
        assert (norm.running_mean == 0).all()


class TestClassifier:
    def test_normalises_inside(self):
        classifier = Classifier(nn.Flatten(), CrossEntropy(12, 3), mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
        x = images(2, size=(2, 2))
        expected = torch.empty_like(x)
        for channel, (mean, std) in enumerate(((0.1, 1.0), (0.2, 2.0), (0.3, 4.0))):
            expected[:, channel] = (x[:, channel] - mean) / std
        torch.testing.assert_close(classifier.features(x), expected.flatten(1))

    def test_forward_and_loss_are_the_criterions(self, device):
        classifier = built(criterion=HUG).to(device).eval()
        x, targets = images(device=device), torch.arange(4, device=device)
        features = classifier.features(x)
        torch.testing.assert_close(classifier(x), classifier.criterion.logits(features))
        torch.testing.assert_close(classifier.loss(x, targets), classifier.criterion(features, targets))
        soft = torch.eye(CLASSES, device=device)[targets]
        torch.testing.assert_close(classifier.loss(x, soft), classifier.loss(x, targets))

    @pytest.mark.parametrize(
        "wrong",
        [
            torch.zeros(4, 1, 8, 8),
            torch.zeros(3, 8, 8),
            torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
        ],
        ids=["channels", "rank", "dtype"],
    )
    def test_refuses_what_are_no_images(self, wrong):
        with pytest.raises(ValueError, match=r"images: expected floating point \(B, 3, H, W\).*found"):
            built()(wrong)

    @pytest.mark.parametrize(
        ("std", "match"), [((1.0,), "expected 3 numbers"), ((1.0, 0.0, 1.0), "expected positive")]
    )
    def test_refuses_wrong_statistics(self, std, match):
        with pytest.raises(ValueError, match=match):
            Classifier(nn.Flatten(), CrossEntropy(12, 3), mean=(0.0, 0.0, 0.0), std=std)

    def test_the_loss_is_in_float32_under_autocast(self, device):
        classifier = built(criterion=Product).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            features = classifier.features(images(device=device))
            loss = classifier.loss_of(features, torch.arange(4, device=device))
        assert (features.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
        expected = classifier.criterion(features.float(), torch.arange(4, device=device))
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)

    def test_float64_stays(self):
        classifier = built(criterion=HUG).double()
        assert classifier.loss(images().double(), torch.arange(4)).dtype == torch.float64

    def test_parameters_include_the_criterions(self):
        classifier = built(criterion=HUG)
        own = {name for name, _ in classifier.criterion.named_parameters()}
        assert own
        assert {f"criterion.{name}" for name in own} <= {name for name, _ in classifier.named_parameters()}

    def test_no_weight_decay_names_parameters(self):
        classifier = built("test_vit", HUG)
        assert classifier.no_weight_decay() == {
            "backbone.cls_token",
            "backbone.pos_embed",
            *(f"criterion.{name}" for name in classifier.criterion.no_weight_decay()),
        }

    def test_no_weight_decay_takes_patterns(self):
        backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
        backbone.no_weight_decay = lambda: ["1.*", "absent"]
        classifier = Classifier(backbone, CrossEntropy(4, 3), mean=(0.0,) * 3, std=(1.0,) * 3)
        assert classifier.no_weight_decay() == {"backbone.1.weight", "backbone.1.bias"}

    def test_deepcopy_is_independent(self):
        classifier = built(criterion=HUG).eval()
        twin, x = copy.deepcopy(classifier), images()
        assert torch.equal(twin(x), classifier(x))
        before = classifier(x)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert torch.equal(classifier(x), before)

    @pytest.mark.parametrize("criterion", [CrossEntropy, HUG])
    def test_exports_with_any_batch_size(self, criterion):
        classifier = built(criterion=criterion).eval()
        batch = {"images": {0: torch.export.Dim("batch")}}
        program = torch.export.export(classifier, (images(4),), dynamic_shapes=batch)
        torch.testing.assert_close(program.module()(images(7)), classifier(images(7)))

    def test_compiles_as_one_graph(self):
        classifier = built(criterion=HUG)
        compiled = torch.compile(copy.deepcopy(classifier).loss, backend="eager", fullgraph=True)
        torch.testing.assert_close(
            compiled(images(), torch.arange(4)), classifier.loss(images(), torch.arange(4))
        )


class TestEvaluating:
    def test_restores_every_part_also_after_an_error(self):
        classifier = built()
        classifier.backbone.bn1.eval()
        before = {name: part.training for name, part in classifier.named_modules()}
        with pytest.raises(RuntimeError, match="inside"), evaluating(classifier):
            assert not any(part.training for part in classifier.modules())
            raise RuntimeError("inside")
        assert {name: part.training for name, part in classifier.named_modules()} == before


class TestWeights:
    def test_round_trip(self, tmp_path, device):
        classifier = built(criterion=HUG, seed=1, std=0.5).to(device, memory_format=torch.channels_last)
        save(classifier, tmp_path / "model.safetensors")
        other = built(criterion=HUG, seed=2).to(device)
        load_weights(other, tmp_path / "model.safetensors")
        expected = classifier.state_dict()
        found = other.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        torch.testing.assert_close(
            other.eval()(images(device=device)), classifier.eval()(images(device=device))
        )

    def test_shared_and_parametrised_tensors(self, tmp_path):
        def tied():
            backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Linear(12, 12))
            backbone[2].weight = backbone[1].weight
            nn.utils.parametrizations.weight_norm(backbone[2], "bias", dim=None)
            return Classifier(backbone, CrossEntropy(12, 3), mean=(0.0,) * 3, std=(1.0,) * 3)

        classifier, other = tied(), tied()
        save(classifier, tmp_path / "model.safetensors")
        load_weights(other, tmp_path / "model.safetensors")
        x = images(size=(2, 2))
        torch.testing.assert_close(other(x), classifier(x))
        assert other.backbone[1].weight is other.backbone[2].weight

    def test_weights_of_another_model_are_refused(self, tmp_path):
        save(built(), tmp_path / "model.safetensors")
        with pytest.raises(UserError, match=r"model\.safetensors.*does not fit"):
            load_weights(built(embedding_dim=8), tmp_path / "model.safetensors")

    def test_a_cut_file_is_refused(self, tmp_path):
        path = tmp_path / "model.safetensors"
        save(built(), path)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(CorruptFile, match=r"model\.safetensors"):
            load_weights(built(), path)

    def test_a_failed_save_leaves_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "model.safetensors"
        save(built(seed=0), path)
        before = path.read_bytes()
        monkeypatch.setattr(
            "os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        with pytest.raises(OSError, match="No space left"):
            save(built(seed=1), path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


def test_without_normalisation_the_backbone_sees_the_images(device):
    inputs = images(device=device)
    for normalise in (True, False):
        made = built(normalise=normalise).to(device).eval()
        seen = (inputs - 0.5) / 0.25 if normalise else inputs
        torch.testing.assert_close(made.features(inputs), made.embedding(made.backbone(seen)))
    assert len(made.mean) == len(made.std) == 3


class TestMLP:
    @pytest.mark.parametrize(("name", "widths"), [("mlp_100_100", [100, 100]), ("mlp_400_400", [400, 400])])
    def test_is_linear_layers_with_a_relu_after_each(self, name, widths, device):
        made = built(name, channels=1, size=(4, 6), embedding_dim=None).to(device)
        inputs = images(channels=1, size=(4, 6), device=device)
        layers = [part for part in made.backbone.modules() if isinstance(part, nn.Linear)]
        assert [layer.out_features for layer in layers] == widths
        x = ((inputs - 0.5) / 0.25).flatten(1)
        for layer in layers:
            x = (x @ layer.weight.T + layer.bias).clamp_min(0)
        torch.testing.assert_close(made.features(inputs), x)

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"pretrained": True}, "no trained weights"),
            ({"drop_path_rate": 0.1}, "stochastic depth"),
            ({"stem": "cifar"}, "no cifar stem"),
        ],
    )
    def test_refuses_what_it_does_not_have(self, changed, told):
        with pytest.raises(UserError, match=told):
            built("mlp_100_100", **changed)

    def test_takes_images_of_its_size_only(self):
        made = built("mlp_100_100", size=(4, 4))
        with pytest.raises(ValueError, match="images"):
            made(images(size=(4, 5)))
