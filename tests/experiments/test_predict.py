"""experiments.predict: one line a picture, one sentence a failure, and no picture of the user is touched."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from fer_tf import export, faces, figures, pipeline, weights
from fer_tf.models import fer_net
from fer_tf.records import CLASSES, Record

data = pytest.importorskip("skimage.data")


@pytest.fixture(scope="module")
def run(cli):
    """run(folder, *flags) -> (exit code, lines, stderr) of the command."""

    def predict(cwd: Path, *flags: str) -> tuple[int, list[dict], str]:
        done = cli("predict", *flags, cwd=cwd)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    return predict


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A folder with photos/ (good, double, plain, broken, no picture), empty/, a small FER-Net's tiny.h5 and export."""
    folder = tmp_path_factory.mktemp("predict")
    photos, astronaut = folder / "photos", data.astronaut()
    photos.mkdir()
    (folder / "empty").mkdir()
    Image.fromarray(astronaut).save(photos / "a.png")
    Image.fromarray(astronaut[:, ::-1]).convert("L").save(photos / "a.jpg")
    Image.fromarray(np.hstack([astronaut, astronaut])).save(photos / "double.png")
    Image.fromarray(np.full((90, 120, 3), 130, np.uint8)).save(photos / "plain.png")
    (photos / "broken.jpg").write_bytes((photos / "a.jpg").read_bytes()[:300])
    (photos / "notes.txt").write_text("no picture")
    net = fer_net.FERNet(classes=CLASSES["six_neutral"], width=4, blocks=1, hidden=8)
    net.head.kernel.assign(np.random.default_rng(0).standard_normal((8, 7)).astype(np.float32))
    config = {key: value for key, value in net.get_config().items() if key != "name"}
    weights.save(net, folder / "tiny.h5", provenance={"config": config})
    export.save(net, folder / "exported")
    return folder, net


def expected(net, picture: np.ndarray) -> np.ndarray:
    """Probabilities of the picture's largest face, through the pipeline."""
    aligned = faces.align(picture, fer_net.TEMPLATE, box=faces.detect(picture, min_score=0.5)[0])
    options = {"classes": net.classes, "template": fer_net.TEMPLATE, "views": fer_net.views, "batch_size": 1}
    batches = pipeline.batches([Record(aligned, info={"framed": True})], training=False, **options)
    return net(next(iter(batches.dataset()))).numpy()[0]


def test_a_folder_with_everything_in_it(run, house):
    folder, net = house
    before = hashes(folder / "photos")
    flags = ("--image=photos", "--image=empty", "--image=nowhere/*.jpg", "--image=photos/a.png", "--all_faces")
    code, lines, errors = run(folder, *flags, "--min_score=0.5", "--batch_size=2", "--model=tiny.h5", "--out=out")
    assert code == 1
    rows = {line["path"]: line for line in lines}
    assert [Path(line["path"]).name for line in lines] == ["a.jpg", "a.png", "broken.jpg", "double.png", "plain.png"]
    assert [len(line["faces"]) for line in lines] == [1, 1, 0, 2, 0]
    for name, picture in (("a.png", data.astronaut()), ("a.jpg", faces.load_image(folder / "photos" / "a.jpg"))):
        (face,) = rows[f"photos/{name}"]["faces"]
        found = [face["probabilities"][label] for label in net.classes]
        np.testing.assert_allclose(found, expected(net, picture), atol=2e-6)
        assert face["label"] == net.classes[int(np.argmax(found))] and face["confidence"] == max(found)
        np.testing.assert_allclose(face["box"], faces.detect(picture, min_score=0.5)[0].box, atol=0.06)
        assert abs(face["score"] - faces.detect(picture, min_score=0.5)[0].score) < 1e-3 and face["score"] > 0.5
    centres = sorted((face["box"][0] + face["box"][2]) / 2 for face in rows["photos/double.png"]["faces"])
    assert abs(centres[1] - centres[0] - 512) < 16  # the detector's grid
    said = [line for line in errors.splitlines() if line.startswith(("photos", "empty", "nowhere"))]
    assert [line.split(":")[0] for line in said] == ["empty", "nowhere/*.jpg", "photos/broken.jpg", "photos/plain.png"]
    assert "cannot be read" in said[2] and "no face was found" in said[3]
    assert [rows[f"photos/{name}"]["error"] for name in ("broken.jpg", "plain.png")] == said[2:]
    assert "Traceback" not in errors
    assert hashes(folder / "photos") == before
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["a_faces.jpg", "a_faces_2.jpg", "double_faces.jpg"]
    drawn = np.asarray(Image.open(folder / "out" / "a_faces_2.jpg")).astype(int)  # a.png, the second "a"
    left, _, right, bottom = (round(v) for v in rows["photos/a.png"]["faces"][0]["box"])
    assert drawn.shape == data.astronaut().shape
    assert np.abs(drawn[bottom - 1, (left + right) // 2] - ImageColor.getrgb(figures.PLATES[0])).max() < 60
    assert np.abs(drawn[300:, 300:] - data.astronaut()[300:, 300:]).mean() < 4


def test_an_exported_model_says_the_same_and_success_is_exit_code_0(run, house):
    folder, net = house
    code, lines, _ = run(folder, "--image=photos/a.p*", "--model=exported", "--out=")
    assert code == 0 and [line["path"] for line in lines] == ["photos/a.png"] and "error" not in lines[0]
    found = [lines[0]["faces"][0]["probabilities"][label] for label in net.classes]
    np.testing.assert_allclose(found, expected(net, data.astronaut()), atol=1.1e-5)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--image=photos", "--out=photos", "--model=tiny.h5"), "--out=photos holds the pictures themselves"),
        (("--image=photos", "--model=nonsense"), "no released weights 'nonsense'"),
    ],
)
def test_what_cannot_start_says_why_in_one_sentence(run, house, flags, message):
    folder, _ = house
    before = hashes(folder / "photos")
    code, lines, errors = run(folder, *flags)
    assert code == 1 and lines == [] and "Traceback" not in errors
    (said,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert message in said
    assert hashes(folder / "photos") == before and not (folder / "runs").exists()


def test_the_released_weights_see_that_the_astronaut_is_happy(run, house):
    folder, _ = house
    try:
        weights.released("fer_net_fer2013")
    except FileNotFoundError:
        pytest.skip("weights/fer_net_fer2013.h5 is not there yet")
    code, lines, _ = run(folder, "--image=photos/a.png", "--image=photos/a.jpg", "--out=happy")
    assert code == 0
    assert [line["faces"][0]["label"] for line in lines] == ["happiness", "happiness"]
    assert (folder / "happy" / "a_faces.jpg").is_file()
