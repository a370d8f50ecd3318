"""Finds faces in photographs, marks their landmarks and aligns them to a named template. NumPy, Pillow and dlib only.

    photo = pictures.load_image("party.jpg")
    for face in detect(photo, all=True):
        aligned = align(photo, "ia_gen", box=face)      # (70, 70, 3) uint8

Coordinates are (x, y) in pixels of the picture as given, continuous: a picture of H x W spans [0, W] x [0, H] and the
centre of its first pixel is (0.5, 0.5). So a point of a picture k times as large is k times the point, and a mirrored
point is W - x. (dlib and scikit-image count pixel centres from 0: add 0.5 to theirs.)

Readings and deviations: the five papers find faces with TSM, CE-CLM, MTCNN and libfacedetection; here it is dlib's HOG
detector, for every one of them. The detector is for faces turned by less than about 45 degrees and sees nothing much
smaller than 80 pixels, so small pictures are enlarged for it.

The 68-point landmark model (extra `landmarks`: `pip install "fer-tf[landmarks]"`) was trained on iBUG 300-W, whose
pictures are free for research only: ask its owners before commercial use. Without it a face is aligned by its
detector box alone: upright and framed alike on average, but neither turned nor scaled by its features.
"""

import importlib.metadata
import math
import os
import threading
from dataclasses import dataclass
from functools import cache

import dlib
import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]

# FER-2013's framing: eye centres (the one on the left of the picture first), nose tip, mouth corners, as fractions of
# the picture. Means over the 2,409 of 3,000 training pictures (seed 0) in which `detect` finds a face, both mirrored
# halves averaged; enlarged by 2.6 % about the picture's centre, since a mean over turned heads is smaller than a head:
# aligning FER-2013's own pictures changes their size by a factor of 1 on (geometric) average.
FER_POINTS = ((0.3143, 0.3810), (0.6857, 0.3810), (0.5000, 0.5845), (0.3397, 0.7798), (0.6603, 0.7798))
# The same five as fractions of dlib's box, from 2,293 such pictures with a border, scaled and shifted so that box and
# landmarks give the same framing on average.
BOX_POINTS = ((0.2882, 0.2916), (0.7118, 0.2916), (0.5000, 0.5236), (0.3161, 0.7493), (0.6839, 0.7493))

SMALLEST, COARSE, FINE = 256, 1024, 2048  # longest sides, in pixels, of the copies in which faces are looked for
WHOLE = 2**24
"""Pixels of the largest picture that is looked through at its own size; of a larger one there is a copy of so many."""


class FaceNotFound(ValueError):
    """No face was found in a picture that should show one."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face that was found.

    Attributes:
      box: (left, top, right, bottom) in pixels, which may reach outside the picture.
      score: dlib's, the distance from its decision border, so that 0 is doubtful and above 1 sure; MTCNN's, in [0, 1].
      points: MTCNN's five (x, y), in the order of `five_points`; None of dlib's detector.
    """

    box: Box
    score: float
    points: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """Where a face's five points lie in an aligned picture.

    Attributes:
      size: (height, width) in pixels.
      points: five (x, y) in pixels: eye centres, left of the picture first, nose tip, mouth corners likewise.
    """

    name: str
    size: tuple[int, int]
    points: tuple[tuple[float, float], ...]

    @classmethod
    def fer2013(cls, name: str, size: tuple[int, int]) -> "Template":
        """FER-2013's framing at another size: the whole 48x48 picture maps onto a square of the same area as `size`,
        centred on it; for a square template, onto all of it. Heights and widths keep their proportion.
        """
        height, width = size
        side = math.sqrt(height * width)
        points = tuple((width / 2 + (x - 0.5) * side, height / 2 + (y - 0.5) * side) for x, y in FER_POINTS)
        return cls(name, (height, width), points)


SURE = 0.2
"""Detector score from which a box is taken for a face before larger, doubtful ones are."""

# All five share FER-2013's framing, so that networks and their pre-training see one kind of face.
SIZES = {"ia_gen": (70, 70), "de_gan": (110, 110), "ed2l": (128, 110), "gcnet": (66, 66), "cycle_at": (256, 256)}
TEMPLATES = {name: Template.fer2013(name, size) for name, size in SIZES.items()}


def _checked(image: np.ndarray) -> np.ndarray:
    """The image as (H, W[, 3]), or ValueError where it is not (H, W[, 1|3]) uint8."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (*image.shape, 1)[2] not in (1, 3) or not image.size:
        given = f"{image.dtype} {image.shape}"
        raise ValueError(f"expected uint8 (H, W) or (H, W, 1|3), got {given}: use pictures.load_image")
    return image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image


def _region(image: np.ndarray, box: Box) -> np.ndarray:
    """The whole-pixel rectangle box (left, top, right, bottom) of an image, mirrored at the image's edges."""
    index = []
    for low, high, size in ((box[0], box[2], image.shape[1]), (box[1], box[3], image.shape[0])):
        if not (math.isfinite(low) and math.isfinite(high)) or high - low > 16 * size + 64:
            raise ValueError(f"box or landmarks do not fit a picture of {image.shape[1]} x {image.shape[0]} pixels")
        i = np.arange(int(low), int(high)) % (2 * size)
        index.append(np.where(i < size, i, 2 * size - 1 - i))
    return image[index[1][:, None], index[0]]


DETECTORS = ("dlib", "mtcnn")
"""Of `detect`."""


def detect(
    image: np.ndarray,
    *,
    upsample: int | None = None,
    all: bool = False,
    min_score: float = 0.0,
    detector: str = "dlib",
) -> list[Face]:
    """Finds frontal faces with dlib's HOG detector, or others too with MTCNN (see `cascade.find`).

    dlib's looks in a copy whose longest side is between 256 and 1,024 pixels (2,048 with `all`), and, where that shows
    nothing, in one twice as large, in one with a border (for faces that fill the picture), and last in the
    picture itself, if that is larger still (at most `WHOLE` pixels of it, which take seconds). Of a panorama or a long
    screenshot the longest side counts as twice the other.

    Args:
      image: (H, W) or (H, W, 1|3) uint8.
      upsample: look once, in the picture enlarged 2**upsample times; 0 finds faces of 80 pixels and more, 1 of 40.
      all: every face rather than the largest.
      min_score: lowest score; 0 is dlib's own border, lower finds more and errs more.
      detector: "dlib" or "mtcnn", whose faces have points.
    Returns:
      Faces, largest first, in pixels of the picture given; at most one unless `all`; empty where there is none.
    Raises:
      ValueError: another detector.
      ModuleNotFoundError: MTCNN is not installed.
    """
    image = _checked(image)
    if detector not in DETECTORS:
        raise ValueError(f"Unknown detector {detector!r}: use {' or '.join(DETECTORS)}.")
    if detector == "mtcnn":
        from fer_tf import cascade  # TensorFlow

        found = [Face(box, s, tuple((x, y) for x, y in p.tolist())) for box, s, p in cascade.find(image)]
        found = [face for face in found if face.score >= min_score]
        return found if all else found[:1]
    if upsample is not None:
        rounds = [(2.0**upsample, 0.0)]
    elif (pixels := image.shape[0] * image.shape[1]) > WHOLE:
        copy, (kx, ky) = _resized(image, math.sqrt(WHOLE / pixels) * (1 - 1e-3))
        seen = [(*face.box, face.score) for face in detect(copy, all=all, min_score=min_score)]
        return [Face((left / kx, top / ky, right / kx, bottom / ky), s) for left, top, right, bottom, s in seen]
    else:
        side = min(max(image.shape[:2]), 2 * min(image.shape[:2]))
        first = min(max(side, SMALLEST), FINE if all else COARSE) / side
        rounds = [(first, 0.0), (2 * first, 0.0), (first, 0.25)]
        if 2 * first < 1:
            rounds.append((1.0, 0.0))
    for scale, border in rounds:
        faces = _detect_at(image, scale, border, min_score)
        if faces:
            return faces if all else faces[:1]
    return []


def _detect_at(image: np.ndarray, scale: float, border: float, min_score: float) -> list[Face]:
    """Faces, largest first, found in a copy `scale` times as large with a mirrored border (a share of the sides)."""
    height, width = image.shape[:2]
    dx, dy = round(border * width), round(border * height)
    region = _region(image, (-dx, -dy, width + dx, height + dy)) if border else image
    copy, (kx, ky) = _resized(region, scale)
    boxes, scores, _ = _detector().run(copy, 0, min_score)
    faces = []
    for box, score in zip(boxes, scores, strict=True):
        left, right = box.left() / kx - dx, (box.right() + 1) / kx - dx
        top, bottom = box.top() / ky - dy, (box.bottom() + 1) / ky - dy
        if 0 <= (left + right) / 2 <= width and 0 <= (top + bottom) / 2 <= height:  # no mirror images
            faces.append(Face((left, top, right, bottom), float(score)))
    return sorted(faces, key=lambda face: face.box[0] - face.box[2])


def _resized(image: np.ndarray, scale: float) -> tuple[np.ndarray, tuple[float, float]]:
    """The image `scale` times as large (smoothed before it shrinks), and the exact factors (x, y) it came out with."""
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size != (width, height):
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    return np.ascontiguousarray(image), (size[0] / width, size[1] / height)


_OWN = threading.local()


def _detector() -> "dlib.fhog_object_detector":
    """This thread's detector: dlib's keeps scratch memory and runs without the GIL, so threads must not share one."""
    if not hasattr(_OWN, "detector"):
        _OWN.detector = dlib.get_frontal_face_detector()
    return _OWN.detector


def has_landmarks() -> bool:
    """Whether the 68-point model (extra `landmarks`) is installed."""
    return _model_file("shape_predictor_68_face_landmarks.dat") is not None


@cache
def _model_file(name: str) -> str | None:
    """Path of a model of face_recognition_models (never imported: its import needs pkg_resources), or None."""
    try:
        files = importlib.metadata.files("face_recognition_models") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [str(file.locate()) for file in files if file.name == name]
    return next(filter(os.path.isfile, paths), None)


@cache
def _predictor() -> "dlib.shape_predictor":
    return dlib.shape_predictor(_model_file("shape_predictor_68_face_landmarks.dat"))


@cache
def _recogniser() -> "dlib.face_recognition_model_v1":
    path = _model_file("dlib_face_recognition_resnet_model_v1.dat")
    if path is None or not has_landmarks():
        raise ModuleNotFoundError('face embeddings need the landmark models: pip install "fer-tf[landmarks]"')
    return dlib.face_recognition_model_v1(path)


def landmarks(image: np.ndarray, box: Face | Box) -> np.ndarray | None:
    """Marks a face's 68 points: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67.

    The model was trained on iBUG 300-W, whose pictures are free for research only. It sees the face at 256 pixels
    whatever its size in the picture, so the points of small faces are finer than a pixel.

    Args:
      image: (H, W) or (H, W, 1|3) uint8.
      box: the face as `detect` gives it.
    Returns:
      (68, 2) float32, (x, y) in pixels; None where the model is not installed.
    Raises:
      ValueError: if the box is empty or far outside the picture.
    """
    image, box = _checked(image), _box(box)
    return _marked(image, box) if has_landmarks() else None


def _marked(image: np.ndarray, box: Box) -> np.ndarray:
    """`landmarks` where the model is there."""
    copy, factors, origin = _close_up(image, box)
    corners = [(v - origin[i % 2]) * factors[i % 2] for i, v in enumerate(box)]
    left, top, right, bottom = (round(v) for v in corners)
    shape = _predictor()(copy, dlib.rectangle(left, top, right - 1, bottom - 1))
    points = np.array([(part.x + 0.5, part.y + 0.5) for part in shape.parts()])
    return (points / factors + origin).astype(np.float32)


def embedding(image: np.ndarray, landmarks: np.ndarray | None = None, box: Face | Box | None = None) -> np.ndarray:
    """Describes whose face it is: dlib's face recognition descriptor. Up to about 0.6 apart is likely one person.

    Args:
      image: (H, W) or (H, W, 1|3) uint8.
      landmarks: (68, 2) in pixels; found in `box`, or else in the largest face, where None.
      box: the face as `detect` gives it.
    Returns:
      (128,) float32 of length about 1.5; compare by Euclidean distance.
    Raises:
      FaceNotFound: if neither is given and there is no face.
      ModuleNotFoundError: if the models (extra `landmarks`) are not installed.
    """
    recogniser, image = _recogniser(), _checked(image)
    marks = _marked(image, _box(_largest(image) if box is None else box)) if landmarks is None else landmarks
    marks = _points(marks, (68,))
    low, high = marks.min(axis=0), marks.max(axis=0)
    copy, factors, origin = _close_up(image, (*low, *high))
    points = np.round((marks - origin) * factors - 0.5).astype(int)
    if copy.ndim == 2:
        copy = np.repeat(copy[:, :, None], 3, axis=2)
    rectangle = dlib.rectangle(*(int(v) for v in (*points.min(axis=0), *points.max(axis=0))))
    shape = dlib.full_object_detection(rectangle, dlib.points([dlib.point(int(x), int(y)) for x, y in points]))
    return np.array(recogniser.compute_face_descriptor(copy, shape), np.float32)


def _close_up(image: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The box with half its size around it, scaled so that the box is 256 pixels wide or high; (factors, origin) map
    a point of the image to (point - origin) * factors."""
    left, top, right, bottom = box
    side = max(right - left, bottom - top)
    around = (left - side / 2, top - side / 2, right + side / 2, bottom + side / 2)
    origin = np.floor(around[:2])
    copy, factors = _resized(_region(image, (*origin, *np.ceil(around[2:]))), 256 / side)
    return copy, np.array(factors), origin


def _box(box: Face | Box) -> Box:
    left, top, right, bottom = (float(v) for v in (box.box if isinstance(box, Face) else box))
    if not (right > left and bottom > top):
        raise ValueError(f"box (left, top, right, bottom) = {(left, top, right, bottom)} is empty")
    return left, top, right, bottom


def _points(points: np.ndarray, counts: tuple[int, ...]) -> np.ndarray:
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in counts or not np.isfinite(points).all():
        raise ValueError(f"landmarks are {' or '.join(f'({n}, 2)' for n in counts)} finite numbers, got {points.shape}")
    return points


def _largest(image: np.ndarray, detector: str = "dlib") -> Face:
    faces = detect(image, detector=detector)
    faces = [face for face in faces if face.score >= SURE] or faces[:1]
    if not faces:
        height, width = image.shape[:2]
        raise FaceNotFound(f"no face was found in the picture of {width} x {height} pixels: it may be turned or hidden")
    return faces[0]


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Eye centres (means of six points each), nose tip and mouth corners of 68 landmarks; GCNet's five.

    Jaw, brows, lips and lids move with the expression and are left out; the mouth's corners remain, two of five.

    Args:
      landmarks: (68, 2) in pixels.
    Returns:
      (5, 2) float64 in pixels, left of the picture first.
    """
    p = _points(landmarks, (68,))
    return np.stack([p[36:42].mean(axis=0), p[42:48].mean(axis=0), p[30], p[48], p[54]])


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rotation, scale and shift that bring source points nearest to target points (least squares, no mirroring;
    Umeyama 1991, eq. 40-42, which in the plane is one complex division).

    Args:
      source, target: (P, 2), P >= 2, not all source points alike.
    Returns:
      (2, 3) float64 M: target ~ M[:, :2] @ source + M[:, 2].
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    a, b = (source - source.mean(axis=0)) @ (1, 1j), (target - target.mean(axis=0)) @ (1, 1j)
    spread = np.vdot(a, a).real
    if not spread > 0 or not abs(turn := np.vdot(a, b) / spread) > 0:
        raise ValueError("points that all lie at one place define no alignment")
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, target.mean(axis=0) - linear @ source.mean(axis=0)])


def align(
    image: np.ndarray,
    template: Template | str,
    landmarks: np.ndarray | None = None,
    box: Face | Box | None = None,
    *,
    use_landmarks: bool = True,
    detector: str = "dlib",
) -> np.ndarray:
    """Turns, scales and crops a face so that its eyes, nose and mouth lie where the template has them.

    With landmarks: the least-squares similarity of `five_points`. With a box: landmarks are found in it, or, where the
    model is not installed or `use_landmarks` is off, the five points' mean places in the box stand for them. With
    neither: the largest face that `detect` is sure of (SURE), else the largest one. Shrinking averages over the
    pixels it covers; what lies outside the picture is its mirror image.

    Args:
      image: (H, W) or (H, W, 1|3) uint8.
      template: a Template or a name in TEMPLATES.
      landmarks: (68, 2), or (5, 2) in the order of `five_points`, in pixels.
      box: the face as `detect` gives it.
      detector: of `detect`, for neither; MTCNN's own five points are those that count, in `box` too.
      use_landmarks: off gives the same crop whether or not the landmark model is installed.
    Returns:
      (height, width[, 1|3]) uint8, with the channels of the image.
    Raises:
      FaceNotFound: if neither landmarks nor box is given and no face is found.
      ValueError: if the image, landmarks or box have a wrong shape, or the name is unknown.
    """
    shape, image = np.shape(image), _checked(image)
    if isinstance(template, str):
        if template not in TEMPLATES:
            raise ValueError(f"unknown template {template!r}: choose from {', '.join(TEMPLATES)}")
        template = TEMPLATES[template]
    if landmarks is not None:
        points = _points(landmarks, (5, 68))
        points = five_points(points) if len(points) == 68 else points
    else:
        points = find_points(image, box, use_landmarks=use_landmarks, detector=detector)
    warped = _warp(image, similarity(points, np.array(template.points)), template.size)
    return warped[:, :, None] if len(shape) == 3 and shape[2] == 1 else warped


def find_points(
    image: np.ndarray, box: Face | Box | None = None, *, use_landmarks: bool = True, detector: str = "dlib"
) -> np.ndarray:
    """The points by which `align` turns a face, (5, 2) float64, as its `landmarks`; arguments and errors as there."""
    image = _checked(image)
    return _points_in(image, _largest(image, detector) if box is None else box, use_landmarks)


def _points_in(image: np.ndarray, face: Face | Box, use_landmarks: bool) -> np.ndarray:
    """The five points of a face, (5, 2): found with it, of its landmarks, or where they mostly are in a box."""
    if use_landmarks and isinstance(face, Face) and face.points is not None:
        return np.array(face.points)
    box = _box(face)
    marks = landmarks(image, box) if use_landmarks else None
    if marks is not None:
        return five_points(marks)
    corner = np.array(box[:2])
    return corner + np.array(BOX_POINTS) * (np.array(box[2:]) - corner)


def _warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resamples the image so that its point p lands on matrix @ (p, 1) of a picture of `size` (height, width).

    Pillow's bicubic transform cuts fractions off: values come out half a grey level low on average.
    """
    height, width = size
    inverse = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))
    corners = inverse[:2] @ np.array([(0, 0, 1), (width, 0, 1), (0, height, 1), (width, height, 1)]).T
    shrink = math.sqrt(np.linalg.det(inverse[:2, :2]))  # picture pixels for one of the template
    block = max(1, int(shrink / 4))  # averaged in whole blocks first,
    samples = max(1, math.ceil(shrink / block - 1e-6))  # then sampled this often along each side
    low = np.floor(corners.min(axis=1)) - 3 * block
    high = low + np.ceil((corners.max(axis=1) + 3 * block - low) / block) * block
    source = Image.fromarray(_region(image, (*low, *high)))
    if block > 1:
        source = source.reduce(block)
    affine = np.column_stack([inverse[:2, :2] / samples, inverse[:2, 2] - low]) / block
    fine = width * samples, height * samples
    warped = source.transform(fine, Image.Transform.AFFINE, affine.ravel().tolist(), Image.Resampling.BICUBIC)
    return np.array(warped.resize((width, height), Image.Resampling.BICUBIC))
