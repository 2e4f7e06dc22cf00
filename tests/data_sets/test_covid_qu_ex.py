"""COVID-QU-Ex's folders, generated small: layouts, odd names, missing masks, damaged files."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import functional

from quantus_vit.data import CLASS_NAMES, IMAGENET_MEAN, IMAGENET_STD, CovidQuEx, download_covid_qu_ex
from quantus_vit.data.covid_qu_ex import KAGGLE_HANDLE, read_square

LUNG, INFECTION = "Lung Segmentation Data", "Infection Segmentation Data"
NAMES = {
    "COVID-19": ["covid_2.png", "covid_1.png"],
    "Non-COVID": ["non_COVID (11905).png"],
    "Normal": ["Normal (10).png"],
}


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def noise(seed: int, size: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)


def make_tree(base: Path, splits: tuple[str, ...] = ("Train", "Val", "Test"), masks: tuple[str, ...] = ()) -> None:
    """The layout below a part's folder; masks mark the left half."""
    half = np.zeros((20, 20), np.uint8)
    half[:, :10] = 255
    for split in splits:
        for name, files in NAMES.items():
            for number, file in enumerate(files):
                write(base / split / name / "images" / file, noise(number))
                for folder in masks:
                    write(base / split / name / folder / file, half)


@pytest.mark.parametrize("inner", [LUNG, ""], ids=["doubled", "single"])
@pytest.mark.parametrize("depth", [0, 1, 2], ids=["above", "part", "inner part"])
def test_finds_the_split_from_any_of_its_folders(tmp_path: Path, inner: str, depth: int) -> None:
    make_tree(tmp_path / LUNG / inner)
    roots = [tmp_path, tmp_path / LUNG, tmp_path / LUNG / inner]
    data = CovidQuEx(roots[depth], split="Val", image_size=16)
    assert data.labels == [0, 0, 1, 2]
    assert [Path(path).name for path in data.paths] == [
        "covid_1.png", "covid_2.png", "non_COVID (11905).png", "Normal (10).png"
    ]  # fmt: skip
    assert len(data) == 4


def test_item_has_the_agreed_fields(tmp_path: Path) -> None:
    make_tree(tmp_path / LUNG)
    item = CovidQuEx(tmp_path, image_size=20)[3]
    assert item["image"].shape == (3, 20, 20)
    assert item["image"].dtype == torch.float32
    assert item["label"] == CLASS_NAMES.index("Normal")
    assert item["path"].endswith("Normal (10).png")
    expected = functional.normalize(torch.from_numpy(noise(0)).expand(3, -1, -1) / 255, IMAGENET_MEAN, IMAGENET_STD)
    torch.testing.assert_close(item["image"], expected)


def test_missing_masks_are_false_and_flagged(tmp_path: Path) -> None:
    make_tree(tmp_path / LUNG, masks=("lung masks",))
    (tmp_path / LUNG / "Test" / "Normal" / "lung masks" / "Normal (10).png").unlink()
    first, last = (CovidQuEx(tmp_path, image_size=16)[index] for index in (0, 3))
    assert first["has_lung_mask"] is True
    assert first["has_infection_mask"] is False
    assert last["has_lung_mask"] is False
    for mask in (first["infection_mask"], last["lung_mask"]):
        assert mask.dtype == torch.bool
        assert mask.shape == (1, 16, 16)
        assert not mask.any()


def test_masks_follow_the_image_size(tmp_path: Path) -> None:
    make_tree(tmp_path / INFECTION / INFECTION, splits=("Test",), masks=("lung masks", "infection masks"))
    item = CovidQuEx(tmp_path, split="Test", part="infection", image_size=10)[0]
    assert item["has_infection_mask"]
    assert item["infection_mask"][0, :, :5].all()
    assert not item["infection_mask"][0, :, 5:].any()
    assert torch.equal(item["lung_mask"], item["infection_mask"])


@pytest.mark.parametrize("split", ["test", "TEST", "Test"])
def test_split_in_any_case(tmp_path: Path, split: str) -> None:
    make_tree(tmp_path / LUNG, splits=("test",))
    assert CovidQuEx(tmp_path, split=split).split == "Test"


def test_batches_collate(tmp_path: Path) -> None:
    make_tree(tmp_path / LUNG)
    batch = next(iter(DataLoader(CovidQuEx(tmp_path, image_size=16), batch_size=4)))
    assert batch["image"].shape == (4, 3, 16, 16)
    assert batch["label"].tolist() == [0, 0, 1, 2]
    assert batch["has_lung_mask"].tolist() == [False] * 4


def test_hidden_and_other_files_are_no_images(tmp_path: Path) -> None:
    make_tree(tmp_path / LUNG)
    folder = tmp_path / LUNG / "Test" / "Normal" / "images"
    (folder / "._Normal (10).png").write_bytes(b"finder")
    (folder / "notes.txt").write_text("no image")
    assert len(CovidQuEx(tmp_path)) == 4


@pytest.mark.parametrize("kind", ["missing", "empty", "other part", "empty class folders"])
def test_wrong_folder_shows_the_layout(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "data"
    if kind != "missing":
        root.mkdir()
    if kind == "other part":
        make_tree(root / INFECTION)
    if kind == "empty class folders":
        (root / LUNG / "Test" / "Normal" / "images").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"Lung Segmentation Data.*COVID-19.*images/\*\.png") as caught:
        CovidQuEx(root)
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_root_of_the_other_part_is_refused(tmp_path: Path) -> None:
    make_tree(tmp_path / INFECTION)
    with pytest.raises(FileNotFoundError, match="Lung Segmentation Data"):
        CovidQuEx(tmp_path / INFECTION, part="lung")


@pytest.mark.parametrize("content", [b"", b"no image at all", None], ids=["empty", "text", "cut off"])
def test_unreadable_image_is_named(tmp_path: Path, content: bytes | None) -> None:
    make_tree(tmp_path / LUNG)
    path = tmp_path / LUNG / "Test" / "Non-COVID" / "images" / "non_COVID (11905).png"
    path.write_bytes(path.read_bytes()[:80] if content is None else content)
    data = CovidQuEx(tmp_path)
    with pytest.raises(ValueError, match=r"non_COVID \(11905\)\.png"):
        data[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "'dev'"),
        ({"part": "heart"}, "'heart'"),
        ({"image_size": 0}, "image_size"),
        ({"image_size": 2.5}, "2.5"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    make_tree(tmp_path / LUNG)
    with pytest.raises(ValueError, match=message):
        CovidQuEx(tmp_path, **arguments)  # type: ignore[arg-type]


def test_16_bit_and_colour_images_become_8_bit_grey(tmp_path: Path) -> None:
    gray = noise(3, 8)
    write(tmp_path / "deep.png", gray.astype(np.uint16) * 257)
    write(tmp_path / "colour.png", np.repeat(gray[..., None], 3, axis=2))
    for name in ("deep.png", "colour.png"):
        np.testing.assert_array_equal(read_square(tmp_path / name, 8), gray)


def test_download_goes_through_kagglehub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    fake = types.ModuleType("kagglehub")
    fake.dataset_download = lambda handle: asked.append(handle) or str(tmp_path)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", fake)
    assert download_covid_qu_ex() == tmp_path
    assert asked == [KAGGLE_HANDLE]


def test_download_without_kagglehub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(ImportError, match=r"pip install kagglehub.*kaggle\.com/datasets/anasmohammedtahir/covidqu"):
        download_covid_qu_ex()


def test_the_developers_copy(shared_dir: Path) -> None:
    root = shared_dir / "cxr"
    counts = {split: CovidQuEx(root, split).labels for split in ("Train", "Val", "Test")}
    assert {split: [labels.count(k) for k in range(3)] for split, labels in counts.items()} == {
        "Train": [353, 320, 363], "Val": [86, 66, 79], "Test": [26, 79, 52]
    }  # fmt: skip
    item = CovidQuEx(root, "Test", part="infection")[0]
    assert item["has_lung_mask"]
    assert item["lung_mask"].any()
    assert item["has_infection_mask"]
