"""What every data set shares: records and their checks, samples, the table of kinds and how a SPEC names one."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from quantus_vit.data import DATASETS, Annotation, CovidQuEx, Phantom, Record, XrayDataset, find_dataset, open_data
from quantus_vit.data.masks import ImageMask


class Enlarged:
    """A preprocessing that repeats every pixel."""

    def image(self, grey):
        return torch.from_numpy(grey.repeat(2, 0).repeat(2, 1))[None]

    def mask(self, mask):
        return torch.from_numpy(mask.repeat(2, 0).repeat(2, 1))[None]


def record(name="a", labels=("x",), **annotations):
    return Record(name, name, None, labels, annotations)


def covid_tree(root: Path, part: str = "Lung Segmentation Data") -> Path:
    for name in ("COVID-19", "Normal"):
        for folder, value in (("images", 51), ("lung masks", 255)):
            path = root / part / "Test" / name / folder / "one.png"
            path.parent.mkdir(parents=True)
            Image.new("L", (8, 8), value).save(path)
    return root


def test_sample_is_image_and_masks_as_the_preprocessing_makes_them(tmp_path):
    item = CovidQuEx(covid_tree(tmp_path)).sample(0, Enlarged())
    torch.testing.assert_close(item.image, torch.full((1, 16, 16), 0.2))
    assert item.masks["lung"].shape == (1, 16, 16)
    assert item.masks["lung"].all()
    assert item.mask_kinds == {"lung": "pixel"}
    assert item.record.labels == ("COVID-19",)


@pytest.mark.parametrize("root", ["", "Lung Segmentation Data", "link"])
def test_identity_does_not_depend_on_how_the_root_was_typed(tmp_path, monkeypatch, root):
    covid_tree(tmp_path / "data")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    place = root if root == "link" else os.path.join("data", root)
    identities = [entry.identity for entry in CovidQuEx(place).records]
    assert identities == [entry.identity for entry in CovidQuEx(tmp_path / "data" / ".." / "data").records]
    assert identities[0] == "Lung Segmentation Data/Test/COVID-19/images/one.png"


def test_phantom_sample_is_its_item():
    data = Phantom(3, seed=2, split="Val", image_size=40)
    sample, item = data.sample(1, Enlarged()), data[1]
    assert torch.equal(sample.masks["infection"][:, ::2, ::2], item["infection_mask"])
    assert torch.equal(sample.masks["lung"][:, ::2, ::2], item["lung_mask"])
    np.testing.assert_allclose(sample.image[0, ::2, ::2], item["image"][0] * 0.229 + 0.485, atol=1e-6)
    assert sample.record.labels == ("Non-COVID",)
    twin = data.twin(1)
    assert not twin["infection_mask"].any()
    assert torch.equal(data[1]["infection_mask"], item["infection_mask"])


def test_masks_of_an_item_may_be_changed():
    data = Phantom(1, image_size=40)
    data[0]["lung_mask"].fill_(False)
    assert data[0]["lung_mask"].any()
    data.records[0].annotations["lung"].read()[:] = False
    assert data.records[0].annotations["lung"].read().any()


def test_phantoms_travel_to_worker_processes():
    data = Phantom(2, image_size=32)
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy[1]["image"], data[1]["image"])


def test_a_mask_of_a_scaled_copy_is_scaled_and_other_proportions_are_refused(tmp_path):
    Image.new("L", (8, 4), 0).save(tmp_path / "image.png")
    mask = np.zeros((2, 4), dtype=bool)
    mask[0, 1] = True
    path = str(tmp_path / "image.png")

    def data(values):
        return XrayDataset("mine", ["x"], "binary", "Test", [
            Record("image.png", path, None, (), {"x": Annotation("pixel", lambda: values)})
        ])  # fmt: skip

    scaled = data(mask).sample(0, Enlarged()).masks["x"][0, ::2, ::2].numpy()
    np.testing.assert_array_equal(scaled, np.kron(mask, np.ones((2, 2), dtype=bool)))
    with pytest.raises(ValueError, match=r"mask of 'x' of '.*image.png' has 2 x 4 pixels, the image 8 x 4"):
        data(mask.T).sample(0, Enlarged())


@pytest.mark.parametrize("white", [1, 255])
def test_mask_files_of_0_and_1_and_of_0_and_255(tmp_path, white):
    values = np.array([[0, 1], [1, 0]], dtype=np.uint8)
    Image.fromarray(values * white).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(ImageMask(str(tmp_path / "mask.png"))(), values == 1)


def test_mask_of_a_lossy_format(tmp_path):
    values = np.zeros((64, 64), dtype=np.uint8)
    values[13:45, 13:45] = 255
    Image.fromarray(values).save(tmp_path / "mask.jpg", quality=60)
    assert set(np.unique(np.asarray(Image.open(tmp_path / "mask.jpg")))) - {0, 255}
    np.testing.assert_array_equal(ImageMask(str(tmp_path / "mask.jpg"))(), values > 0)


def test_labels_by_task():
    classes = XrayDataset("mine", ["x", "y"], "multiclass", "Test", [record("a", ("y",)), record("b", ("x",))])
    assert classes.labels == [1, 0]
    binary = XrayDataset("mine", ["x"], "binary", "Test", [record("a", ()), record("b", ("x",))])
    assert binary.labels == [0, 1]
    several = XrayDataset("mine", ["x", "y"], "multilabel", "Test", [record("a", ("y", "x")), record("b", ())])
    assert several.findings.tolist() == [[True, True], [False, False]]
    with pytest.raises(ValueError, match=r"several labels.*\.findings"):
        _ = several.labels


@pytest.mark.parametrize(
    ("names", "task", "records", "message"),
    [
        (["x"], "regression", [], "'regression'"),
        ([], "multilabel", [], "needs class names"),
        (["x", "x"], "multiclass", [], "each once"),
        (["x", "y"], "binary", [], "one finding"),
        (["x"], "multilabel", [record(labels=("z",))], r"'a' has the labels \('z',\)"),
        (["x"], "multiclass", [record(labels=())], "must have one label"),
        (["x", "y"], "multilabel", [record(labels=("x", "x"))], "a label twice"),
        (["x"], "binary", [record(), record()], "2 records of mine have the identity 'a'"),
    ],
)
def test_what_does_not_fit_is_refused(names, task, records, message):
    with pytest.raises(ValueError, match=message):
        XrayDataset("mine", names, task, "Test", records)


def test_kind_of_annotation_is_checked():
    with pytest.raises(ValueError, match="'circle'"):
        Annotation("circle", lambda: np.ones((1, 1), dtype=bool))


def test_every_kind_says_how_it_is_typed():
    for spec in DATASETS:
        assert spec.usage.partition(":")[0] == spec.name or ":" in spec.usage
        assert spec.summary


def test_a_folder_is_covid_qu_ex_and_options_reach_it(tmp_path):
    covid_tree(tmp_path, "Infection Segmentation Data")
    for text in (str(tmp_path), f"covid_qu_ex:{tmp_path}"):
        data = open_data(text, subset="infection", image_size=4)
        assert isinstance(data, CovidQuEx)
        assert (data.part, data[0]["image"].shape) == ("infection", (3, 4, 4))


def test_phantoms_by_spec():
    data = open_data("phantom", split="val", count=2, seed=5, image_size=32)
    assert isinstance(data, Phantom)
    assert (data.split, len(data), data.seed, data.name, data.task) == ("Val", 2, 5, "phantom", "multiclass")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ValueError, "no data named"),
        ("no/such/folder", FileNotFoundError, r"no folder 'no/such/folder'; data are phantom, .*covid_qu_ex:DIR"),
        ("nonsense:somewhere/x", ValueError, "unknown data 'nonsense:somewhere/x'; data are phantom, "),
        ("covid_qu_ex", ValueError, "lacks its place; it is typed covid_qu_ex:DIR"),
        ("phantom:3", ValueError, "takes nothing after a colon"),
    ],
)
def test_wrong_specs_list_what_there_is(text, error, message):
    with pytest.raises(error, match=message):
        find_dataset(text)


def test_a_place_may_start_from_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    covid_tree(tmp_path / "data")
    assert find_dataset("csv:~/films.csv")[1] == str(tmp_path / "films.csv")
    assert len(open_data("~/data")) == len(open_data("covid_qu_ex:~/data")) == 2


def test_pixel_range_is_checked_when_the_data_are_opened(tmp_path):
    with pytest.raises(ValueError, match=r"pixel_range must be .*, got \(3, 3\)"):
        open_data(str(covid_tree(tmp_path)), pixel_range=(3, 3))


def test_unknown_option_lists_those_of_the_kind():
    with pytest.raises(ValueError, match=r"'phantom' have no option 'size'; their options: count, seed, image_size"):
        open_data("phantom", size=3)
