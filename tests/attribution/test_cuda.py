"""On a GPU: the same maps as on the CPU, precision by precision, and nothing left in the GPU's memory."""

from __future__ import annotations

import copy
import gc
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quantus_vit import AttentionRollout, AttnLRP, GenericAttention, TransformerLRP
from quantus_vit.assets import phantom_checkpoint_path
from quantus_vit.data import Phantom
from quantus_vit.errors import GraphWarning
from quantus_vit.models.checkpoint import load_checkpoint

from .families import BY_NAME, FAMILIES, images, make
from .golden import DATA, load_golden, relative_error

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
METHODS = (TransformerLRP, AttnLRP, GenericAttention, AttentionRollout)
LRP = (TransformerLRP, AttnLRP)
# timm's mixed rotary embedding refuses float64 on its own; DataParallel moves its model to the GPU when it is made
SERVED = [f.name for f in FAMILIES if not f.refuses and f.name not in ("vit_rope_mixed", "data_parallel")]


@pytest.fixture(autouse=True)
def exact_float32() -> Iterator[None]:
    """Float32 products in float32, as torch does by default; cuDNN's convolutions would use TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    """The shipped model: of random weights TransformerLRP's maps hang on the last digits."""
    return load_checkpoint(phantom_checkpoint_path())[0].cuda().eval()


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    phantoms = Phantom(4, seed=3)
    return torch.stack([phantoms[index]["image"] for index in range(4)]).cuda()


def close(found: Tensor, wanted: Tensor, method: type, cosine: float) -> bool:
    """Whether the maps' cosine similarities reach this; of TransformerLRP, which is ill-conditioned, their median."""
    similar = torch.cosine_similarity(found.double().flatten(1), wanted.double().flatten(1))
    return bool((similar.median() if method is TransformerLRP else similar.min()) > cosine)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_official_numbers(dtype: torch.dtype) -> None:
    tolerance = 1e-6 if dtype == torch.float64 else 1e-3
    golden = load_golden(DATA / "vit_d48_l3_f64.npz", dtype)
    method = TransformerLRP(golden.model.cuda(), interpolate=None)
    for target in range(golden.classes):
        found = method.attribute(golden.inputs.cuda(), target)
        assert found.is_cuda
        assert found.dtype == dtype
        assert relative_error(found.cpu(), golden.references["transformer_attribution"][:, target]) < tolerance


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_numbers_of_lxt(dtype: torch.dtype) -> None:
    tolerance = 1e-6 if dtype == torch.float64 else 1e-3
    golden = load_golden(DATA / "attnlrp_tv_d48_l3_f64.npz", dtype)
    found = AttnLRP(golden.model.cuda(), 0.25, 0.05).attribute(golden.inputs.cuda(), 0)
    assert relative_error(found.cpu(), golden.references["gamma_conv0.25_lin0.05"][:, 0]) < tolerance


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SERVED)
def test_every_family_as_on_the_cpu(name: str, method: type) -> None:
    family = BY_NAME[name]
    model, x = make(family).double(), images(family).double()
    wanted = method(model).attribute(x, [1, 2])
    found = method(model.cuda()).attribute(x.cuda(), torch.tensor([1, 2]))  # the target may stay where it is
    assert found.is_cuda
    tolerance = 1e-3 if "eager" in name else 1e-6  # Hugging Face's eager attention takes its softmax in float32
    assert relative_error(found.cpu(), wanted) < tolerance


@pytest.mark.parametrize("method", METHODS)
def test_data_parallel(method: type) -> None:
    family = BY_NAME["vit"]
    model, x = make(family).cuda().double(), images(family).cuda().double()
    found = method(nn.DataParallel(model)).attribute(x, 1)
    assert relative_error(found, method(model).attribute(x, 1)) < 1e-9


@pytest.mark.parametrize("method", LRP)
def test_model_and_images_on_different_devices(vit: nn.Module, pictures: Tensor, method: type) -> None:
    with pytest.raises(ValueError, match=r"inputs are on cpu but the model is on cuda:0; move one of them"):
        method(vit).attribute(pictures.cpu(), 0)


@pytest.mark.parametrize("method", METHODS)
def test_batch_equals_one_by_one(vit: nn.Module, pictures: Tensor, method: type) -> None:
    model, x = copy.deepcopy(vit).double(), pictures.double()
    together = method(model).attribute(x, [0, 1, 2, 0])
    for index, target in enumerate([0, 1, 2, 0]):
        alone = method(model).attribute(x[index : index + 1], target)
        assert relative_error(alone, together[index : index + 1]) < 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_tf32(vit: nn.Module, pictures: Tensor, method: type) -> None:
    wanted = method(vit).attribute(pictures, 0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        found = method(vit).attribute(pictures, 0)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert relative_error(found, wanted) > 1e-7, "TF32 did nothing"
    assert close(found, wanted, method, 0.99)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", METHODS)
def test_autocast(vit: nn.Module, pictures: Tensor, method: type, dtype: torch.dtype) -> None:
    wanted = method(vit).attribute(pictures, 0)
    with torch.autocast("cuda", dtype):
        found = method(vit).attribute(pictures, 0)
    assert found.isfinite().all()
    assert relative_error(found, wanted) > 1e-7, "autocast did nothing"
    assert close(found, wanted, method, 0.99)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", METHODS)
def test_half_precision_model(vit: nn.Module, pictures: Tensor, method: type, dtype: torch.dtype) -> None:
    wanted = method(vit).attribute(pictures, 0)
    found = method(copy.deepcopy(vit).to(dtype)).attribute(pictures.to(dtype), 0)
    assert found.dtype == dtype
    assert found.isfinite().all()
    assert close(found, wanted, method, 0.98)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_stays_in_the_gpus_memory(vit: nn.Module, pictures: Tensor, method: type) -> None:
    explainer = method(vit)
    maps = explainer.attribute(pictures, 0)  # also what cuBLAS and cuDNN take at first use
    del maps
    gc.collect()
    before = torch.cuda.memory_allocated()
    maps = explainer.attribute(pictures, 0)
    assert torch.cuda.memory_allocated() - before <= maps.untyped_storage().nbytes() + 512  # without a gc.collect()


@pytest.mark.parametrize("method", METHODS)
def test_a_graph_gives_the_methods_maps(vit: nn.Module, pictures: Tensor, method: type) -> None:
    replayed = method(vit).graphed(pictures)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GraphWarning)
        for x, target in ((pictures, [0, 1, 2, 0]), (pictures.flip(0), 1), (pictures, None)):
            assert close(replayed(x, target), method(vit).attribute(x, target), method, 0.9999)
    assert replayed.reason is None
    with pytest.raises(ValueError, match="target 99 is out of range"):
        replayed(pictures, 99)


@pytest.mark.parametrize("method", METHODS)
def test_a_graph_is_captured_anew_for_changed_weights(vit: nn.Module, pictures: Tensor, method: type) -> None:
    model = copy.deepcopy(vit)
    replayed = method(model).graphed(pictures)
    before = replayed(pictures, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    after = replayed(pictures, 1)
    assert relative_error(after, before) > 1e-6
    assert close(after, method(model).attribute(pictures, 1), method, 0.9999)
    with pytest.warns(GraphWarning, match="the graph is for images"):
        assert close(replayed(pictures[:2], 1), method(model).attribute(pictures[:2], 1), method, 0.9999)


def test_lime_as_on_the_cpu(vit: nn.Module, pictures: Tensor) -> None:
    pytest.importorskip("lime")
    pytest.importorskip("skimage")
    from quantus_vit import LimeCXR

    wanted = LimeCXR(copy.deepcopy(vit).cpu(), 100, seed=3).attribute(pictures.cpu(), 1)
    found = LimeCXR(vit, 100, seed=3).attribute(pictures, 1)
    assert relative_error(found.cpu(), wanted) < 1e-3


@pytest.mark.parametrize("name", ["TransformerLRP", "AttnLRP", "GenericAttention", "AttentionRollout"])
def test_quantus(vit: nn.Module, pictures: Tensor, name: str) -> None:
    import quantus

    x, y = pictures.cpu().numpy(), np.array([0, 1, 2, 0])
    found = quantus.explain(vit, x, y, method=name, device="cuda")
    assert isinstance(found, np.ndarray)
    assert found.shape == (4, 1, 224, 224)
    assert next(vit.parameters()).is_cuda


def test_a_metric_of_quantus_with_gradients(vit: nn.Module, pictures: Tensor) -> None:
    import quantus

    from quantus_vit import gradients_enabled

    x, y = pictures[:2].cpu().numpy(), np.array([0, 1])
    metric = quantus.FaithfulnessEstimate(features_in_step=224 * 56, perturb_baseline=0.0, disable_warnings=True)
    with gradients_enabled():
        scores = metric(
            model=vit,
            x_batch=x,
            y_batch=y,
            a_batch=None,
            explain_func=quantus.explain,
            explain_func_kwargs={"method": "TransformerLRP"},
            device="cuda",
        )
    assert len(scores) == 2
    assert np.isfinite(scores).all()
