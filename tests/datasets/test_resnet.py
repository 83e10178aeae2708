import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mmvae_bench.datasets import resnet
from mmvae_bench.datasets.resnet import WEIGHTS_NAME, features, weights_file
from mmvae_bench.errors import DataError


def test_weights_are_looked_for_in_two_places(tmp_path):
    assert weights_file(tmp_path) is None
    (tmp_path / "cub").mkdir()
    inner, outer = tmp_path / "cub" / WEIGHTS_NAME, tmp_path / WEIGHTS_NAME
    inner.touch()
    assert weights_file(tmp_path) == inner
    outer.touch()
    assert weights_file(tmp_path) == outer


def test_what_is_no_resnet101_is_refused(tmp_path):
    path = tmp_path / WEIGHTS_NAME
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    with pytest.raises(DataError, match="does not contain the weights of a ResNet-101") as error:
        features(torch.zeros(1, 3, 8, 8), path)
    assert "timm/resnet101" in str(error.value) and "\n" not in str(error.value)
    for content in (b"", b"x" * 100, path.read_bytes()[:-10], b"\x80\x02}q\x00."):  # the last one is a pickle
        path.write_bytes(content)
        with pytest.raises(DataError, match="does not contain the weights"):
            features(torch.zeros(1, 3, 8, 8), path)


def test_pictures_are_resized_cropped_normalised_and_batched():
    grey = torch.full((3, 90, 120), 128, dtype=torch.uint8)
    batches = list(resnet._batches(itertools.repeat(grey, 33)))
    assert [len(batch) for batch in batches] == [32, 1]
    assert batches[0].shape[1:] == (3, 224, 224)
    expected = (128 / 255 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(batches[1][0, :, 100, 100], expected, atol=1e-6)
    wide = torch.zeros(3, 256, 1000)
    wide[:, :, 450:550] = 1  # survives the crop of the centre, the sides do not
    assert next(resnet._batches([wide]))[0, 0].gt(0).float().mean() > 0.4


def test_progress_is_said_and_half_precision_is_read(tmp_path, monkeypatch, capsys):
    from torchvision.models import resnet101

    torch.manual_seed(0)
    path = tmp_path / WEIGHTS_NAME
    save_file({name: value.half() for name, value in resnet101(weights=None).state_dict().items()}, path)
    monkeypatch.setattr(resnet, "BATCH", 1)
    monkeypatch.setattr(resnet, "SAY_EVERY", 2)
    found = features(torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8), path)
    assert found.shape == (3, 2048) and found.dtype == torch.float32
    assert capsys.readouterr().err == "ResNet-101: features of 2 pictures so far\n"


@pytest.mark.slow
def test_features_are_what_torchvision_computes_before_its_last_layer(tmp_path):
    from torchvision.models import ResNet101_Weights, resnet101

    torch.manual_seed(0)
    net = resnet101(weights=None)
    for module in net.modules():  # else eval mode would be the same as no normalisation
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    path = tmp_path / WEIGHTS_NAME
    state = {name: value for name, value in net.state_dict().items() if "num_batches" not in name}  # as the .pth has
    save_file(state, path)
    pictures = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    x = ResNet101_Weights.IMAGENET1K_V1.transforms()(pictures)
    seen = {}
    net.eval().avgpool.register_forward_hook(lambda module, given, out: seen.update(pooled=out.flatten(1)))
    with torch.no_grad():
        net(x)
    found = features(pictures, path)
    assert found.shape == (3, 2048) and found.dtype == torch.float32 and not found.requires_grad
    torch.testing.assert_close(found, seen["pooled"])
    torch.testing.assert_close(features(iter(pictures), path), found)
    assert not torch.allclose(features(pictures.float() / 255 * 0.5, path), found)
    assert features(pictures[:0], path).shape == (0, 2048)
