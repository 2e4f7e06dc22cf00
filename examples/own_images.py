"""Open X-rays of your own, in each form that is understood: python examples/own_images.py [FOLDER]

Makes a few small files of each kind in FOLDER (a temporary one by default), then opens them as `--data SPEC` does.
"""

import csv
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from quantus_vit.data import Phantom, Preprocessing, open_data

root = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
phantoms = Phantom(count=6, seed=1, split="Test", image_size=128)
films = [np.uint8(phantoms.grey(index) * 255) for index in range(6)]
lesions = [phantoms.records[index].annotations["infection"].read() for index in range(6)]
classes = [record.labels[0] for record in phantoms.records]


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


# 1. Folders: folder:DIR with DIR/<split>/<class>/*, and masks in DIR/masks/<finding>/ under the same place.
for number, (film, lesion, name) in enumerate(zip(films, lesions, classes, strict=True)):
    place = Path("test") / name / f"film{number}.png"
    save(root / "films" / place, film)
    save(root / "films" / "masks" / "infection" / place, np.uint8(lesion) * 255)

# 2. A table: csv:FILE with a column of 0 and 1 for each finding, patients, and boxes "x y w h".
with open(root / "films.csv", "w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["path", "COVID-19", "Pneumonia", "patient", "box:COVID-19"])
    for number, (lesion, name) in enumerate(zip(lesions, classes, strict=True)):
        y, x = np.nonzero(lesion)
        is_covid = name == "COVID-19"
        box = f"{x.min()} {y.min()} {np.ptp(x) + 1} {np.ptp(y) + 1}" if is_covid else ""
        rows.writerow([f"films/test/{name}/film{number}.png", int(is_covid), int(name != "Normal"), f"p{number}", box])

# 3. Code: FILE.py:NAME with a function that returns a data set.
(root / "my_films.py").write_text(
    "from quantus_vit.data import open_data\n\n\n"
    "def films(split):\n"
    f"    return open_data({'folder:' + str(root / 'films')!r}, split)\n"
)

specs = [f"folder:{root / 'films'}", f"csv:{root / 'films.csv'}", f"{root / 'my_films.py'}:films"]

# 4. DICOM files, wherever an image may be, with pydicom (pip install 'quantus-vit[dicom]'); here a slice it comes with.
try:
    from pydicom.data import get_testdata_file
except ImportError:
    print("DICOM is left out: it needs pydicom")
else:
    (root / "dicom" / "slices").mkdir(parents=True, exist_ok=True)
    shutil.copy(str(get_testdata_file("CT_small.dcm")), root / "dicom" / "slices")
    specs.append(f"folder:{root / 'dicom'}")

preprocessing = Preprocessing(size=(64, 64), resize="pad")  # a model's own: quantus_vit.load_model(SPEC).preprocessing
for spec in specs:
    data = open_data(spec, split="Test")
    sample = data.sample(0, preprocessing)
    print(f"{spec}: {len(data)} images, {data.task}: {', '.join(data.class_names)}")
    print(
        f"    {sample.record.identity}: {sample.record.labels}, image {tuple(sample.image.shape)}, {sample.mask_kinds}"
    )
