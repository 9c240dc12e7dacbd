"""Networks of timm: names, options, versions, and what the method has no rule for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tickets import Role, UnknownLayerError, parameter_roles
from workers.models import find_architecture, from_timm

SIZES = {"in_channels": 3, "num_classes": 10}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("timm:resnet18d_", "unknown architecture 'timm:resnet18d_'; did you mean timm:resnet18d"),
        ("timm:resnet18.a1_in1k", r"leave out the tag: timm:resnet18$"),
        ("timm:hf-hub:someone/resnet", "unknown architecture 'timm:hf-hub:someone/resnet'"),
        ("timm:", "unknown architecture 'timm:'"),
        ("tim:resnet18", "unknown architecture 'tim:resnet18'"),
    ],
)
def test_an_unknown_name_is_refused_with_near_ones(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        find_architecture(name)


@pytest.mark.parametrize("option", ["pretrained", "checkpoint_path", "num_classes", "scriptable", "features_only"])
def test_options_that_change_more_than_the_network_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=rf"model\.{option}: .*; leave it out"):
        from_timm._build("resnet18", 3, 10, "", {option: True})


@pytest.mark.parametrize("name", ["resnetv2_50", "vovnet39a"])
def test_a_text_may_name_a_class_that_timm_looks_up(name: str) -> None:
    found = find_architecture(f"timm:{name}")
    assert found.unfit({"act_layer": "silu"}) is None
    with torch.device("meta"):
        built = found.build(**SIZES, act_layer="silu")
    assert any(isinstance(module, nn.SiLU) for module in built.modules())


def test_a_key_has_timms_version_and_another_version_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_architecture("timm:resnet18")
    options = found.complete({"drop_path_rate": 0.1})
    assert options == {"timm": from_timm.timm_version(), "drop_path_rate": 0.1}
    with torch.device("meta"):
        found.build(**SIZES, **options)
    monkeypatch.setattr(from_timm, "version", lambda name: "0.0.1")
    with pytest.raises(ValueError, match=f"timm 0.0.1 is installed, .* install timm=={options['timm']}"):
        found.build(**SIZES, **options)


def test_without_timm_a_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise from_timm.PackageNotFoundError(name)

    monkeypatch.setattr(from_timm, "version", missing)
    with pytest.raises(ValueError, match=r"pip install 'winning-sign\[timm\]'"):
        find_architecture("timm:resnet18")


def test_weight_standardisation_is_refused_because_pruned_weights_would_act() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=r"stem\.conv: .* standardises its weights"):
        find_architecture("timm:nf_resnet50").build(**SIZES)


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        (
            "deit_tiny_distilled_patch16_224",
            {"dist_token": "embedding", "head.weight": "prunable"},
        ),
        ("vit_small_patch14_reg4_dinov2", {"reg_token": "embedding", "blocks.0.ls1.gamma": "scale"}),
        ("swin_tiny_patch4_window7_224", {"layers.0.blocks.0.attn.relative_position_bias_table": "embedding"}),
        ("beit_base_patch16_224", {"blocks.0.attn.q_bias": "bias", "blocks.0.gamma_1": "scale"}),
        ("convnext_atto", {"stages.0.blocks.0.gamma": "scale", "stem.0.weight": "prunable"}),
        ("cait_xxs24_224", {"blocks.0.gamma_1": "scale", "pos_embed": "embedding"}),
    ],
)
def test_parameters_outside_layers_have_roles(name: str, roles: dict[str, str]) -> None:
    with torch.device("meta"):
        model = find_architecture(f"timm:{name}").build(**SIZES)
    found = parameter_roles(model, 10)
    assert {key: found[key] for key in roles} == roles
    assert {found[key] for key, each in model.named_parameters() if each.dim() == 4} <= {Role.PRUNABLE, Role.EMBEDDING}


def test_a_parameter_without_a_rule_is_named() -> None:
    with torch.device("meta"):
        model = find_architecture("timm:resmlp_12_224").build(**SIZES)
    with pytest.raises(UnknownLayerError, match=r"blocks\.0\.norm1\.alpha: .* of a Affine"):
        parameter_roles(model, 10)
