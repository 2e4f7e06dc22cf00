"""What the linear model is fitted to: softmax, sigmoid or logits, as lime would with that classifier function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from lime.lime_image import LimeImageExplainer
from torch import Tensor, nn

from quantus_vit.lime import LimeCXR

pytestmark = pytest.mark.filterwarnings("ignore::quantus_vit.lime.LocalFitWarning")

Answer = Callable[[Tensor], Tensor]
SEGMENTS = np.indices((64, 64))[0] // 16 * 4 + np.indices((64, 64))[1] // 16


def limes_own(
    model: nn.Module, image: Tensor, answer: Callable[[Tensor], Tensor]
) -> dict[int, list[tuple[int, float]]]:
    """Coefficients by the lime package alone."""

    def classify(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return answer(model(torch.from_numpy(batch).permute(0, 3, 1, 2).float())).double().numpy()

    explanation = LimeImageExplainer(random_state=0).explain_instance(
        image.permute(1, 2, 0).double().numpy(),
        classify,
        labels=None,
        top_labels=model(image[None]).shape[1],
        num_samples=80,
        segmentation_fn=lambda _: SEGMENTS,
    )
    coefficients: dict[int, list[tuple[int, float]]] = explanation.local_exp
    return coefficients


@pytest.mark.parametrize(
    ("classes", "link", "answer"),
    [
        (3, None, lambda logits: logits.softmax(dim=1)),
        (3, "softmax", lambda logits: logits.softmax(dim=1)),
        (3, "sigmoid", torch.sigmoid),
        (3, "identity", lambda logits: logits),
        (1, None, torch.sigmoid),
        (1, "identity", lambda logits: logits),
    ],
)
def test_coefficients_are_limes(
    make_vit: Callable[..., nn.Module],
    images: Tensor,
    classes: int,
    link: str | None,
    answer: Callable[[Tensor], Tensor],
) -> None:
    model = make_vit(num_classes=classes)
    ours = LimeCXR(model, num_samples=80, segments=SEGMENTS, link=link).explain_instance(images[0])
    expected = limes_own(model, images[0], answer)
    assert ours.local_exp.keys() == expected.keys()
    for label, pairs in expected.items():
        found = dict(ours.local_exp[label])
        for segment, weight in pairs:
            assert found[segment] == pytest.approx(weight, abs=1e-5)


def test_one_logit_is_not_a_constant(make_vit: Callable[..., nn.Module], images: Tensor) -> None:
    maps = LimeCXR(make_vit(num_classes=1), num_samples=60, segments="grid", num_segments=16).attribute(images)
    assert (maps.flatten(1).std(dim=1) > 1e-4).all()


def test_two_findings_do_not_compete(images: Tensor) -> None:
    """With sigmoids a finding that looks at nothing has no coefficients; softmax would give it those of the other."""

    class Halves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            left = x[..., :32].mean(dim=(1, 2, 3))
            return torch.stack([4 * left, torch.zeros_like(left)], dim=1)

    by_link = {
        link: LimeCXR(Halves(), num_samples=80, segments=SEGMENTS, replacement=0.0, link=link).attribute(
            images, target=1
        )
        for link in ("sigmoid", "softmax")
    }
    assert by_link["sigmoid"].abs().max() < 1e-6 < 1e-3 < by_link["softmax"].abs().max()


def test_unknown_link(vit: nn.Module) -> None:
    with pytest.raises(ValueError, match="'softmax', 'sigmoid', 'identity'"):
        LimeCXR(vit, link="probit")
