from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import mobilenet_v2, vit_b_16
from torchvision.models import resnet18 as torchvision_resnet18
from torchvision.models import resnet50 as torchvision_resnet50
from torchvision.ops import StochasticDepth

from tickets import Provenance, Role, classifier_name, from_model, parameter_roles, prunable_names, reinitialise_
from workers.models import ARCHITECTURES, build_model
from workers.models.resnet_small import BasicBlock
from workers.stages import Model
from workers.training.psi import PsiInterpolation


class Network(NamedTuple):
    model: Model
    classes: int
    parameters: int
    channels: int = 3


NETWORKS = {
    "resnet1d": Network(Model("resnet1d"), 10, 7_474, channels=1),
    "resnet20": Network(Model("resnet20"), 100, 278_324),
    "resnet32": Network(Model("resnet32"), 100, 472_756),
    "resnet56": Network(Model("resnet56"), 10, 855_770),  # 0.85 M: He et al. 2016, table 6
    "resnet20_unnormalized": Network(Model("resnet20_unnormalized"), 10, 271_690),
    "vgg16": Network(Model("vgg16"), 10, 14_728_266),  # open_lth's cifar_vgg_16
    "resnet18": Network(Model("resnet18"), 10, 11_173_962),  # 11.17 M, the usual one for CIFAR-10
    "vit_tiny": Network(Model("vit_tiny"), 10, 5_362_762),  # timm's vit_tiny_patch16_224(img_size=32, patch_size=4)
    "imagenet_resnet18": Network(Model("resnet18", {"variant": "imagenet"}), 1000, 11_689_512),  # torchvision's
    "vit_b16": Network(Model("vit_b16"), 1000, 86_567_656),  # torchvision's
    "resnet50": Network(Model("resnet50"), 100, 23_705_252),  # 23.7 M
    "mobilenetv2": Network(Model("mobilenetv2"), 100, 2_412_212),  # 2.41 M
    "efficientnet_b0": Network(Model("efficientnet_b0"), 100, 3_627_488),  # 3.63 M
    "shufflenet_g3": Network(Model("shufflenet_g3"), 100, 1_012_108),  # 1.01 M
    "imagenet_resnet50": Network(Model("resnet50", {"variant": "imagenet"}), 1000, 25_557_032),  # torchvision's
    "imagenet_mobilenetv2": Network(Model("mobilenetv2", {"variant": "imagenet"}), 1000, 3_504_872),  # torchvision's
    "mlp_mixer": Network(Model("mlp_mixer"), 1000, 7_786_968),  # 7.79 M
}
SMALL = ["resnet20", "resnet32", "resnet50", "mobilenetv2", "efficientnet_b0", "shufflenet_g3"]
SMALL += ["resnet56", "resnet20_unnormalized", "vgg16", "resnet18"]


def build(name: str, seed: int = 0) -> nn.Module:
    network = NETWORKS[name]
    return build_model(network.model, in_channels=network.channels, num_classes=network.classes, init_seed=seed)


def on_meta(name: str) -> nn.Module:
    """The network as the plan builds it, without memory or arithmetic."""
    network = NETWORKS[name]
    with torch.device("meta"):
        return ARCHITECTURES[network.model.name].build(
            in_channels=network.channels, num_classes=network.classes, **network.model.options
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_counts(name: str) -> None:
    assert sum(parameter.numel() for parameter in on_meta(name).parameters()) == NETWORKS[name].parameters


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet1d", (1, 40)), ("vit_tiny", (32, 32))]
    + [(name, (224, 224)) for name in NETWORKS if name.startswith("imagenet_") or name in ("mlp_mixer", "vit_b16")]
    + [(name, size) for name in SMALL for size in ((32, 32), (64, 64))],
)
@pytest.mark.parametrize("training", [False, True])
def test_logits_have_one_column_per_class_and_need_no_value_on_the_host(
    name: str, size: tuple[int, int], training: bool
) -> None:
    # a meta tensor has no values, so .item() or a branch on data would raise
    images = torch.empty(2, NETWORKS[name].channels, *size, device="meta")
    assert on_meta(name).train(training)(images).shape == (2, NETWORKS[name].classes)


@pytest.mark.parametrize("name", [*SMALL, "vit_tiny", "imagenet_mobilenetv2", "mlp_mixer"])
def test_every_parameter_takes_part_under_psi_interpolation_and_channels_last(name: str) -> None:
    size = 224 if name == "mlp_mixer" else 32
    model = build(name).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(2, 3, size, size).contiguous(memory_format=torch.channels_last)
    logits = PsiInterpolation(model)(images, torch.tensor(0.3))
    logits.square().sum().backward()
    assert logits.isfinite().all()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", ["mobilenetv2", "efficientnet_b0", "shufflenet_g3"])
def test_the_memory_format_changes_nothing(name: str) -> None:
    model, images = build(name).eval(), torch.randn(2, 3, 32, 32)
    expected = model(images)
    model = model.to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        model(images.contiguous(memory_format=torch.channels_last)), expected, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_all_but_the_last_linear_layers_weights_is_prunable(name: str) -> None:
    model = on_meta(name)
    roles = parameter_roles(model, NETWORKS[name].classes)
    classifier = classifier_name(model, NETWORKS[name].classes)
    assert isinstance(model.get_submodule(classifier), nn.Linear)
    assert list(roles)[-2:] == [f"{classifier}.weight", f"{classifier}.bias"]
    for key, parameter in list(model.named_parameters())[:-2]:
        embedding = key in ("class_token", "encoder.pos_embedding")
        assert (roles[key] is Role.PRUNABLE) == (parameter.dim() > 1 and not embedding), key
        assert (roles[key] is Role.EMBEDDING) == embedding, key


def test_squeeze_excite_depthwise_and_patch_embedding_are_prunable() -> None:
    roles = parameter_roles(on_meta("efficientnet_b0"), 100)
    assert roles["features.1.0.block.1.fc1.weight"] is Role.PRUNABLE
    assert roles["features.1.0.block.1.fc1.bias"] is Role.BIAS
    assert roles["features.1.0.block.0.0.weight"] is Role.PRUNABLE  # depthwise
    assert roles["features.1.0.block.0.1.weight"] is Role.NORMALIZATION
    assert parameter_roles(on_meta("mlp_mixer"), 1000)["embed.weight"] is Role.PRUNABLE


@pytest.mark.parametrize(
    ("name", "weight", "shape"),
    [
        ("mobilenetv2", "features.2.layers.1.0.weight", (96, 1, 3, 3)),
        ("efficientnet_b0", "features.1.0.block.0.0.weight", (32, 1, 3, 3)),
        ("shufflenet_g3", "features.1.reduce.0.weight", (60, 8, 1, 1)),
        ("shufflenet_g3", "features.1.depthwise.0.weight", (60, 1, 3, 3)),
        ("shufflenet_g3", "features.5.expand.0.weight", (240, 40, 1, 1)),
    ],
)
def test_a_grouped_convolutions_ticket_has_the_grouped_shape(name: str, weight: str, shape: tuple[int, ...]) -> None:
    model = build(name, 1)
    masks = {key: torch.rand(model.get_parameter(key).shape) < 0.5 for key in prunable_names(model, 100)}
    ticket = from_model(model, masks, 100, Provenance("cifar100", name, "aws", 3, 0.5, "sound", "0123abcd"))
    assert ticket.tensors[weight].sign.shape == ticket.masks[weight].shape == shape
    ticket.apply(model, seed=2)
    assert torch.equal(model.get_parameter(weight) != 0, masks[weight])


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("imagenet_resnet18", torchvision_resnet18),
        ("imagenet_resnet50", torchvision_resnet50),
        ("imagenet_mobilenetv2", mobilenet_v2),
    ],
)
def test_imagenets_variant_is_torchvisions_network(name: str, original: type[nn.Module]) -> None:
    theirs, ours = original().eval(), build(name).eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(ours(images), theirs(images))


def test_small_images_keep_their_resolution_in_resnet50s_stem() -> None:
    model = build("resnet50").eval()
    assert model.maxpool(model.conv1(torch.randn(1, 3, 32, 32))).shape == (1, 64, 32, 32)
    assert "conv1.weight" in prunable_names(model, 100)
    assert "layer1.0.downsample.0.weight" in prunable_names(model, 100)
    assert "fc.weight" not in prunable_names(model, 100)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_strided_shortcut_has_the_bits_of_a_slice_and_its_gradient_stays_channels_last(
    precision: torch.dtype,
) -> None:
    block = BasicBlock(4, 8, (3, 3), (2, 2)).to(memory_format=torch.channels_last)
    pooled = torch.randn(5, 4, 7, 6).to(memory_format=torch.channels_last).requires_grad_()
    sliced = pooled.detach().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        out = block(pooled)
        inside = F.relu(block.bn1(block.conv1(sliced)))
        expected = F.relu(block.bn2(block.conv2(inside)) + block.shortcut(sliced[:, :, ::2, ::2]))
    assert torch.equal(out, expected)
    # not .backward(), which would bring a leaf's gradient into the leaf's format
    gradient, sliced_gradient = (
        torch.autograd.grad(y.square().sum(), x)[0] for y, x in ((out, pooled), (expected, sliced))
    )
    assert torch.equal(gradient, sliced_gradient)
    assert gradient.is_contiguous(memory_format=torch.channels_last)  # mixed formats made a step 5 % slower


def test_efficientnets_drop_connect_grows_with_the_block_and_only_training_drops() -> None:
    # released code: the block's index never advances, so every block's rate is 0
    model = build("efficientnet_b0")
    rates = [module.p for module in model.modules() if isinstance(module, StochasticDepth)]
    assert rates == pytest.approx([0.2 * block / 16 for block in range(16)])
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(model.eval()(images), model(images))
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == [0.2]
    assert not any(isinstance(m, nn.Dropout) and m.p for m in build("imagenet_mobilenetv2").modules())


def test_shufflenets_shuffle_spreads_every_group_over_all_of_the_next() -> None:
    unit = build("shufflenet_g3").features[2].eval()
    with torch.no_grad():
        for layer in (unit.reduce[0], unit.depthwise[0], unit.expand[0]):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
    images = torch.zeros(1, 240, 4, 4)
    images[:, :80] = 1.0  # the first group alone
    assert (unit(images) > images).all()


def test_vit_b16_is_torchvisions_network() -> None:
    with torch.device("meta"):
        theirs, ours = vit_b_16(), on_meta("vit_b16")
    assert str(theirs) == str(ours).replace("TorchvisionVit", "VisionTransformer")
    assert {k: v.shape for k, v in theirs.state_dict().items()} == {k: v.shape for k, v in ours.state_dict().items()}


def test_a_vit_takes_images_of_whole_patches_and_of_its_size_only() -> None:
    tiny = {"in_channels": 1, "num_classes": 10, "width": 6, "depth": 1}
    model = ARCHITECTURES["vit_tiny"].build(**tiny, image_size=8)
    assert model(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    with pytest.raises(ValueError, match=r"images of 8x8 pixels, not 12x12; .* --set model\.image_size=12"):
        model(torch.randn(2, 1, 12, 12))
    with pytest.raises(ValueError, match="image_size=30 is no multiple of the patch size; give a multiple of 4"):
        ARCHITECTURES["vit_tiny"].build(**tiny, image_size=30)
    with pytest.raises(ValueError, match="heads divide the width"):
        ARCHITECTURES["vit_tiny"].build(**tiny, heads=4)


def test_vgg16_says_how_large_its_images_must_be() -> None:
    with pytest.raises(ValueError, match="at least 16x16"):
        ARCHITECTURES["vgg16"].build(in_channels=1, num_classes=10, width=2)(torch.randn(2, 1, 8, 40))


@pytest.mark.parametrize("name", ["resnet50", "resnet18", "mobilenetv2"])
def test_an_unknown_variant_is_an_error_that_names_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match="unknown variant 'tiny'; known: imagenet, small"):
        ARCHITECTURES[name].build(in_channels=3, num_classes=10, variant="tiny")


@pytest.mark.parametrize("size", [100, 0, -16])
def test_mlp_mixers_image_is_whole_patches(size: int) -> None:
    with pytest.raises(ValueError, match=f"image_size={size} is no multiple of the patch size; give a multiple of 16"):
        ARCHITECTURES["mlp_mixer"].build(in_channels=3, num_classes=10, image_size=size)


def test_mlp_mixer_takes_the_image_size_it_is_built_for() -> None:
    model = ARCHITECTURES["mlp_mixer"].build(in_channels=3, num_classes=10, image_size=64)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 10)


def test_mlp_mixer_embeds_each_patch_by_itself() -> None:
    model = ARCHITECTURES["mlp_mixer"].build(in_channels=3, num_classes=10, image_size=64)
    patches: list[torch.Tensor] = []
    model.embed.register_forward_hook(lambda module, inputs, output: patches.append(inputs[0]))
    images = torch.zeros(1, 3, 64, 64)
    images[:, :, 16:32, 32:48] = 1.0  # second row, third column
    model(images)
    assert torch.equal(patches[0].sum(2).nonzero(), torch.tensor([[0, 6]]))


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"vit_b16"}))  # large, and drawn in test_draws.py
def test_a_ticket_starts_a_network_from_the_same_initialisation_as_a_sweep(name: str) -> None:
    built, again = build(name, 5), build(name, 6)
    reinitialise_(again, 5)
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in built.state_dict().items())


def test_an_initialisation_is_a_function_of_its_seed_alone() -> None:
    torch.manual_seed(1)
    one = build("resnet20", 5).state_dict()
    torch.rand(3)
    state = torch.random.get_rng_state()
    two, other = build("resnet20", 5).state_dict(), build("resnet20", 6).state_dict()
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["conv.weight"], other["conv.weight"])
