"""Fitting a checkpoint into a backbone: what is loaded, dropped, left, and refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor

from helpers.weight_sample import official, open_official, random_backbone, weights_of
from moat_det.backbones import MOATBackbone, create_backbone
from moat_det.backbones.weights import LoadReport, load_pretrained
from moat_det.backbones.weights.layout import variable_name
from moat_det.backbones.weights.load import load
from moat_det.errors import UserError

HEAD = {"final_layer_norm.weight", "final_layer_norm.bias", "logits_head.weight", "logits_head.bias"}


@pytest.fixture(scope="module")
def source() -> MOATBackbone:
    return random_backbone()


@pytest.fixture
def variables(source: MOATBackbone) -> dict[str, Tensor]:
    return official(source)


def loaded(variables: dict[str, Tensor], **arguments: object) -> tuple[MOATBackbone, LoadReport]:
    backbone = create_backbone("tiny_moat0", **{"num_classes": 1000, **arguments})
    return backbone, load(backbone, open_official(variables))


def refusal(variables: dict[str, Tensor], **arguments: object) -> str:
    with pytest.raises(UserError) as error:
        loaded(variables, **arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_golden_archive_fills_every_weight(shared: Path) -> None:
    """Against the means and deviations in the archive's own list, which is not made with our code."""
    folder = shared / "golden/tiny_moat_0"
    backbone = create_backbone("tiny_moat0", num_classes=1000, pretrained=folder / "tiny_moat_0.tar.gz")
    listed = {}
    for row in (folder / "variables.tsv").read_text().splitlines()[1:]:
        key, _, _, mean, std = row.split("\t")
        listed[key] = float(mean), float(std)
    listed.pop("global_step")
    ours = weights_of(backbone)
    assert {variable_name(key) for key in ours} == listed.keys()
    for key, tensor in ours.items():
        mean, std = listed[variable_name(key)]
        assert tensor.mean().item() == pytest.approx(mean, rel=1e-3, abs=1e-5), key
        assert tensor.std(correction=0).item() == pytest.approx(std, rel=1e-3), key


def test_all_is_loaded_bit_for_bit(source: MOATBackbone, variables: dict[str, Tensor]) -> None:
    backbone, report = loaded(variables)
    expected = weights_of(source)
    for key, tensor in weights_of(backbone).items():
        assert torch.equal(tensor, expected[key]), key
    assert set(report.loaded) == expected.keys()
    assert (report.dropped, report.random, report.notes) == ((), (), ())
    assert report.lines() == (
        f"backbone: {len(expected)} tensors loaded from sample.tar.gz",
        "backbone: dropped nothing; left at random nothing",
    )


def test_a_head_of_other_classes_is_dropped_and_said(source: MOATBackbone, variables: dict[str, Tensor]) -> None:
    backbone, report = loaded(variables, num_classes=10)
    assert set(report.dropped) == set(report.random) == {"logits_head.weight", "logits_head.bias"}
    assert torch.equal(backbone.final_layer_norm.weight, source.final_layer_norm.weight)
    assert "1000 classes, the backbone's 10" in report.lines()[1]


def test_feature_maps_need_no_head(variables: dict[str, Tensor]) -> None:
    _, report = loaded(variables, num_classes=None)
    assert set(report.dropped) == HEAD
    assert report.random == ()
    assert "classification head (4 tensors)" in report.lines()[1]


def test_a_head_that_the_file_lacks_stays_random() -> None:
    _, report = loaded(official(random_backbone(num_classes=None)))
    assert set(report.random) == HEAD


@pytest.mark.parametrize("has_tables", [True, False])
def test_position_tables_on_one_side_only(has_tables: bool) -> None:
    _, report = loaded(official(random_backbone(position_embedding=has_tables)), position_embedding=not has_tables)
    left = report.dropped if has_tables else report.random
    assert len(left) == 9
    assert all(key.endswith("relative_position_embedding") for key in left)
    assert len(report.dropped + report.random) == 9


@pytest.mark.parametrize("bands", [1, 5])
def test_first_kernel_follows_the_bands(bands: int, source: MOATBackbone, variables: dict[str, Tensor]) -> None:
    backbone, report = loaded(variables, in_channels=bands, num_classes=None)
    gray = torch.rand(1, 1, 32, 32)
    expected = source.stem.conv_0(gray.expand(-1, 3, -1, -1))
    assert torch.allclose(backbone.stem.conv_0(gray.expand(-1, bands, -1, -1)), expected, atol=1e-5)
    assert f"{bands} band" in report.lines()[1]


def test_weights_of_as_many_bands_are_taken_as_they_are() -> None:
    source = random_backbone(in_channels=5)
    backbone, report = loaded(official(source), in_channels=5)
    assert torch.equal(backbone.stem.conv_0.weight, source.stem.conv_0.weight)
    assert report.notes == ()


def test_without_moving_statistics_there_is_a_loud_warning(
    variables: dict[str, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    variables = {name: t for name, t in variables.items() if "moving_" not in name}
    backbone, report = loaded(variables)
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "WRONG" in warning.message
    assert "_w_position_embedding" in warning.message
    assert {key.rsplit(".")[-1] for key in report.random} == {"running_mean", "running_var"}
    assert backbone.stem.norm_0.running_var.eq(1).all()


def test_some_moving_statistics_missing_is_an_error(variables: dict[str, Tensor]) -> None:
    del variables["moat/stem/norm_0/moving_mean"], variables["moat/block_02_03/pre_norm/moving_variance"]
    message = refusal(variables)
    assert "lacks 2: moat/stem/norm_0/moving_mean, moat/block_02_03/pre_norm/moving_variance" in message


def test_what_training_leaves_is_passed_over(source: MOATBackbone, variables: dict[str, Tensor]) -> None:
    kernel = "moat/block_02_00/expand_conv/kernel"
    wrong = torch.full_like(variables[kernel], 7)
    extras = [f"{kernel}/{slot}" for slot in ("ExponentialMovingAverage", "Adam", "Adam_1", "m", "v", "RMSProp_1")]
    variables |= dict.fromkeys([*extras, "global_step", "beta1_power", "training/beta2_power_1"], wrong)
    backbone, report = loaded(variables)
    assert torch.equal(backbone.stages[2][0].expand_conv.weight, source.stages[2][0].expand_conv.weight)
    assert report.dropped == ()


def test_an_average_serves_where_the_plain_weight_is_missing(
    source: MOATBackbone, variables: dict[str, Tensor]
) -> None:
    name = "moat/stem/conv_1/kernel"
    variables[f"{name}/ExponentialMovingAverage"] = variables.pop(name)
    backbone, report = loaded(variables)
    assert torch.equal(backbone.stem.conv_1.weight, source.stem.conv_1.weight)
    assert "1 tensors are moving averages" in report.lines()[1]


@pytest.mark.parametrize(
    "name", ["moat/extra/kernel", "head/Adam", "moat/stem/conv_0/kernel/Nonsense", "conv_0/kernel", "global_step/x"]
)
def test_unexpected_names_are_listed(name: str, variables: dict[str, Tensor]) -> None:
    variables |= {name: torch.zeros(1), "moat/other": torch.zeros(1)}
    assert f"has unknown 2: {name}, moat/other" in refusal(variables)


def test_missing_and_unexpected_names_are_listed_together(variables: dict[str, Tensor]) -> None:
    variables["moat/stem/conv_1/weights"] = variables.pop("moat/stem/conv_1/kernel")
    del variables["moat/logits_head/bias"]
    message = refusal(variables)
    assert "lacks 2: moat/stem/conv_1/kernel, moat/logits_head/bias" in message
    assert "unknown 1: moat/stem/conv_1/weights" in message


def test_a_long_list_is_cut_and_counted(variables: dict[str, Tensor]) -> None:
    message = refusal({name: t for name, t in variables.items() if "pre_norm" not in name})
    assert "lacks 56: " in message
    assert message.endswith(" and 36 more")


def test_another_shape_names_both(variables: dict[str, Tensor]) -> None:
    variables["moat/block_03_01/attention/q/weight"] = torch.zeros(256, 4, 64)
    assert "moat/block_03_01/attention/q/weight is (256, 4, 64) and not (256, 8, 32)" in refusal(variables)


def test_whole_numbers_are_no_weights(variables: dict[str, Tensor]) -> None:
    variables["moat/stem/conv_0/bias"] = torch.zeros(32, dtype=torch.int64)
    assert "moat/stem/conv_0/bias holds torch.int64" in refusal(variables)


def test_weights_that_are_no_numbers_are_refused(variables: dict[str, Tensor]) -> None:
    name = variable_name("stem.conv_0.weight")
    variables[name] = torch.full_like(variables[name], torch.inf)
    assert f"{name} holds NaN or infinity" in refusal(variables)


@pytest.mark.parametrize("other", ["tiny_moat1", "moat1"])
def test_another_variant_is_named(other: str) -> None:
    with torch.device("meta"):
        variables = official(random_backbone(other))
    assert f"holds {other}, the backbone is tiny_moat0" in refusal(variables)


def test_half_precision_weights(source: MOATBackbone, variables: dict[str, Tensor]) -> None:
    backbone, _ = loaded({name: t.half() for name, t in variables.items()})
    assert torch.equal(backbone.stem.conv_0.weight, source.stem.conv_0.weight.half().float())


def test_nothing_is_written_where_the_file_does_not_fit(variables: dict[str, Tensor]) -> None:
    backbone = create_backbone("tiny_moat0", num_classes=1000)
    before = {key: t.clone() for key, t in weights_of(backbone).items()}
    variables["moat/block_03_01/shrink_conv/kernel"] = torch.zeros(1)
    with pytest.raises(UserError):
        load(backbone, open_official(variables))
    assert all(torch.equal(t, before[key]) for key, t in weights_of(backbone).items())


def test_caches_keyed_by_version_notice(variables: dict[str, Tensor]) -> None:
    backbone = create_backbone("tiny_moat0", num_classes=1000)
    table = backbone.stages[2][0].attention.relative_position_embedding
    version = table._version
    load(backbone, open_official(variables))
    assert table._version > version


def test_create_backbone_says_what_stays_random(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    archive = shared / "golden/tiny_moat_0/tiny_moat_0.tar.gz"
    create_backbone("tiny_moat0", pretrained=archive)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    create_backbone("tiny_moat0", pretrained=archive, num_classes=3)
    assert "1000 classes, the backbone's 3" in caplog.text


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no weights at .*absent\.pt: give .*tiny_moat3_no_pe"):
        load_pretrained(create_backbone("tiny_moat0"), tmp_path / "absent.pt")
