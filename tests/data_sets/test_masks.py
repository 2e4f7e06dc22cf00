"""Annotations: run lengths of independent encoders, shapes beside their own geometry, and their way to a model."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quantus_vit.data.masks import Boxes, CocoRuns, ImageMask, Polygons, RelativeRuns, Votes
from quantus_vit.data.preprocessing import Preprocessing

MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12))


def coco_counts(mask):
    """Runs down the columns, outside first, counted one pixel after the other."""
    counts, current = [0], False
    for column in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if bool(mask[row, column]) != current:
                counts.append(0)
                current = not current
            counts[-1] += 1
    return counts


def compressed(counts):
    """COCO's string: the steps of ``rleToString`` in its C code, in Python."""
    text = ""
    for index, count in enumerate(counts):
        rest = count - counts[index - 2] if index > 2 else count
        while True:
            bits = rest & 31
            rest >>= 5
            more = rest != -1 if bits & 16 else rest != 0
            text += chr((bits | 32 if more else bits) + 48)
            if not more:
                break
    return text


def siim_runs(mask):
    """Distance from the end of the last run, and length, down the columns."""
    numbers, end, start = [], 0, None
    flat = [bool(value) for column in mask.T for value in column] + [False]
    for place, inside in enumerate(flat):
        if inside and start is None:
            start = place
        if not inside and start is not None:
            numbers += [start - end, place - start]
            end, start = place, None
    return " ".join(map(str, numbers))


@given(MASKS)
@settings(max_examples=100, deadline=None)
def test_coco_runs(mask):
    counts = coco_counts(mask)
    for form in (tuple(counts), compressed(counts)):
        np.testing.assert_array_equal(CocoRuns(mask.shape, form, "file")(), mask)


def test_a_long_coco_string():
    rows, columns = np.mgrid[:700, :500]
    mask = (rows - 300) ** 2 + (columns - 260) ** 2 < 200**2
    np.testing.assert_array_equal(CocoRuns(mask.shape, compressed(coco_counts(mask)), "file")(), mask)


@pytest.mark.parametrize(
    ("shape", "counts", "message"),
    [
        ((2, 2), (1, 2), "do not add up to 2 x 2"),
        ((2, 2), (6, -2), "do not add up"),
        ((10**6, 10**6), (10**12,), "do not add up"),
        ((2, 2), "4\x05", r"'\\x05' in its run lengths"),
        ((2, 2), "o", "end within a number"),
        ((2, 2), "o" * 99, "in its run lengths"),
    ],
)
def test_damaged_coco_runs(shape, counts, message):
    with pytest.raises(ValueError, match=rf"a mask of 'file.json' is damaged: .*{message}"):
        CocoRuns(shape, counts, "file.json")()


@given(MASKS.filter(np.any))
@settings(max_examples=100, deadline=None)
def test_relative_runs(mask):
    np.testing.assert_array_equal(RelativeRuns(mask.shape, (siim_runs(mask),), "file")(), mask)


def test_relative_runs_as_the_challenge_explains_them():
    # From the end of the last run, down the columns: pixels 1 to 2, then two pixels on, 5.
    mask = RelativeRuns((3, 2), ("1 2 2 1",), "file")()
    assert mask.tolist() == [[False, False], [True, False], [True, True]]


def test_rows_of_one_image_are_united():
    first, second = np.zeros((2, 4, 5), dtype=bool)
    first[1:3, 0] = second[0, 3:] = True
    mask = RelativeRuns((4, 5), (siim_runs(first), siim_runs(second)), "file")()
    np.testing.assert_array_equal(mask, first | second)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("3 4 1", "3 numbers in '3 4 1'"),
        ("a b", "no whole numbers"),
        ("10 4", "leaves its image"),
        ("-3 1", "leaves its image"),
        ("", "0 numbers"),
    ],
)
def test_damaged_relative_runs(row, message):
    with pytest.raises(ValueError, match=message):
        RelativeRuns((3, 4), (row,), "train-rle.csv")()


def inside(corners, x, y):
    """Even-odd rule for one point: how many edges a ray to the left meets."""
    count = 0
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y0 > y) != (y1 > y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) < x:
            count += 1
    return count % 2 == 1


@given(st.lists(st.tuples(st.floats(-3, 15), st.floats(-3, 12)), min_size=3, max_size=7))
@settings(max_examples=150, deadline=None)
def test_polygons_by_the_centres_of_pixels(corners):
    mask = Polygons((9, 12), (tuple(corners),))()
    for row in range(9):
        for column in range(12):
            x, y = column + 0.5, row + 0.5
            # Points on an outline belong to either side.
            left, right = inside(corners, x - 1e-6, y), inside(corners, x + 1e-6, y)
            if left == right:
                assert mask[row, column] == left


def test_polygons_are_united_and_one_that_crosses_itself_is_not():
    square = ((1.0, 1.0), (5.0, 1.0), (5.0, 5.0), (1.0, 5.0))
    shifted = tuple((x + 2, y + 2) for x, y in square)
    assert Polygons((8, 8), (square, shifted))().sum() == 16 + 16 - 4
    assert Polygons((8, 8), (square + square,))().sum() == 0


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((2.0, 1.0, 3.0, 2.0), (1, 3), (2, 5)),
        ((2.4, 1.4, 3.0, 2.0), (1, 3), (2, 5)),
        ((2.6, 1.6, 3.0, 2.0), (2, 4), (3, 6)),
        ((2.6, 1.6, 0.1, 0.1), (2, 3), (3, 4)),
        ((-0.1, 0.0, 10.1, 8.1), (0, 8), (0, 10)),
    ],
)
def test_boxes(box, rows, columns):
    expected = np.zeros((8, 10), dtype=bool)
    expected[slice(*rows), slice(*columns)] = True
    np.testing.assert_array_equal(Boxes((8, 10), (box,), "file")(), expected)


def test_boxes_take_their_frame_from_the_image(tmp_path, write_image):
    path = write_image(tmp_path / "a.png", np.zeros((8, 10), np.uint8))
    assert Boxes(str(path), ((0.0, 0.0, 2.0, 3.0), (1.0, 2.0, 2.0, 3.0)), "file")().sum() == 6 + 6 - 1


def test_boxes_of_another_image_are_refused():
    with pytest.raises(ValueError, match=r"box \(8.0, 0.0, 4.0, 2.0\) of 'a.png' leaves its image of 10 x 8"):
        Boxes((8, 10), ((8.0, 0.0, 4.0, 2.0),), "a.png")()


def test_votes():
    def box(x, w):
        return Boxes((1, 6), ((float(x), 0.0, float(w), 1.0),), "file")

    assert Votes((box(0, 3), box(2, 3)), 3)().tolist() == [[False, False, True, False, False, False]]
    assert Votes((box(0, 3),), 1)().tolist() == [[True, True, True, False, False, False]]
    # Two of three readers saw it, in different places.
    assert Votes((box(0, 1), box(4, 2)), 3)().tolist() == [[True, False, False, False, True, True]]
    assert Votes((box(0, 4), box(1, 3), box(3, 2)), 3)().tolist() == [[False, True, True, True, False, False]]


def test_annotations_travel_to_worker_processes():
    for read in (
        CocoRuns((2, 2), (1, 3), "f"),
        RelativeRuns((2, 2), ("0 1",), "f"),
        Polygons((2, 2), (((0.0, 0.0), (2.0, 0.0), (2.0, 2.0)),)),
        Votes((Boxes((2, 2), ((0.0, 0.0, 1.0, 1.0),), "f"),), 1),
    ):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(read))(), read())


SHAPES = [(300, 200), (180, 410), (97, 128)]
PREPROCESSINGS = [
    Preprocessing(size=(96, 96), resize="squash"),
    Preprocessing(size=(96, 96), resize="pad"),
    Preprocessing(size=(96, 96), resize="crop"),
    Preprocessing(size=(80, 112), resize="crop", crop_fraction=0.875, interpolation="bicubic"),
    Preprocessing(size=(224, 224), resize="pad"),
]


def edges(profile):
    """Where a row of grey values crosses a half, upwards and downwards, between the centres of pixels."""
    steps = np.flatnonzero((profile[:-1] < 0.5) != (profile[1:] < 0.5))
    return [i + 0.5 + (0.5 - profile[i]) / (profile[i + 1] - profile[i]) for i in steps]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("preprocessing", PREPROCESSINGS, ids=lambda p: f"{p.resize}{p.size[0]}")
def test_a_rendered_shape_its_mask_box_and_corners_arrive_at_one_place(tmp_path, write_image, shape, preprocessing):
    height, width = shape
    x0, y0, x1, y1 = (
        round(share * side) for share, side in zip((0.35, 0.4, 0.7, 0.65), (width, height) * 2, strict=True)
    )
    picture = np.zeros(shape, np.uint8)
    picture[y0:y1, x0:x1] = 255
    path = str(write_image(tmp_path / "mask.png", picture))
    corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    reads = [
        ImageMask(path),
        CocoRuns(shape, tuple(coco_counts(picture > 0)), "f"),
        Polygons(shape, (corners,)),
        Boxes(path, ((x0, y0, x1 - x0, y1 - y0),), "f"),
    ]
    image = preprocessing.image(picture / np.float32(255))
    grey = preprocessing.grey(image).numpy()
    (left, top), (right, bottom) = preprocessing.points([(x0, y0), (x1, y1)], shape)
    middle_row, middle_column = int((top + bottom) / 2), int((left + right) / 2)
    seen = [*edges(grey[middle_row]), *edges(grey[:, middle_column])]
    np.testing.assert_allclose(seen, [left, right, top, bottom], atol=0.5)
    for read in reads:
        mask = preprocessing.mask(read())[0].numpy()
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        found = [columns[0], columns[-1] + 1, rows[0], rows[-1] + 1]
        np.testing.assert_allclose(found, [left, right, top, bottom], atol=0.5 + 1e-9)
        assert mask.sum() == (found[1] - found[0]) * (found[3] - found[2])


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS, ids=lambda p: f"{p.resize}{p.size[0]}")
def test_a_rendered_disc_and_its_outline_lie_on_each_other(preprocessing):
    shape, (cx, cy), radius = (400, 520), (260.0, 190.0), 90.0
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    outline = np.stack([cx + radius * np.cos(angles), cy + radius * np.sin(angles)], axis=1)
    mask = preprocessing.mask(Polygons(shape, (tuple(map(tuple, outline)),))())[0].numpy()
    moved = preprocessing.points(outline, shape)
    rows, columns = np.nonzero(mask)
    np.testing.assert_allclose(
        [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1],
        [moved[:, 0].min(), moved[:, 0].max(), moved[:, 1].min(), moved[:, 1].max()],
        atol=0.5,
    )
    x, y = moved[:, 0], moved[:, 1]
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert abs(mask.sum() - area) < 0.02 * area
