"""Who may import whom: the rules of the house, read from the source of every file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for room in ("fer_tf", "experiments") for path in (ROOT / room).rglob("*.py"))

# Module or folder of fer_tf -> the parts of fer_tf that it may import, beside compat and the package's own version.
BELOW = {
    "augment": set(),
    "archives": set(),
    "catalogue": {"datasets", "protocols", "records"},
    "files": set(),
    "nets": {"layers"},
    "compat": set(),
    "faces": {"pictures"},
    "films": set(),
    "frames": set(),
    "figures": {"files", "pictures"},
    "layers": set(),
    "losses": set(),
    "metrics": {"files"},
    "pictures": set(),
    "randaugment": {"augment"},
    "protocols": {"records", "trees"},
    "records": {"files", "films"},
    "spec": set(),
    "trees": set(),
    "weights": {"files"},
    "datasets": {"films", "frames", "records", "trees"},
    "pipeline": {"augment", "faces", "records", "store"},
    "store": {"faces", "films", "pictures", "records"},
    "softmax": {"layers", "losses"},
    "models": {"softmax", "nets", "layers", "losses", "augment", "records", "spec"},
    "evaluation": {"training", "figures"},
    "training": {"files"},
    "export": {"figures", "weights", "metrics", "augment", "faces", "spec"},
}
WITHOUT_TENSORFLOW = {
    "archives",
    "catalogue",
    "files",
    "protocols",
    "records",
    "faces",
    "films",
    "frames",
    "pictures",
    "trees",
    "datasets",
}  # nowhere; metrics and figures: not when they are imported
LAZY_TENSORFLOW = {"metrics", "figures"}
TENSORFLOW = {"tensorflow", "keras", "keras_cv", "tensorflow_addons"}


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Full dotted names of what a file imports, `from a import b` as a.b; relative ones from its package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{name.name}" for name in node.names)


def at_import(tree: ast.Module) -> ast.Module:
    """The tree without the bodies of functions: what runs when the module is imported."""
    copy = ast.parse(ast.unparse(tree))
    for node in ast.walk(copy):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [ast.Pass()]
    return copy


def knows_keras(tree: ast.AST, package: str) -> Iterator[str]:
    """Where a file reaches for Keras past compat, or asks which version of Keras or TensorFlow it has."""
    for name in imports(tree, package):
        if name.split(".")[0] == "keras" or name.startswith("tensorflow.keras") or name.endswith(".KERAS_3"):
            yield f"imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if node.attr == "keras" and isinstance(node.value, ast.Name) and node.value.id in ("tf", "tensorflow"):
                yield f"uses {ast.unparse(node)}"
            if node.attr == "KERAS_3":
                yield f"asks for {ast.unparse(node)}"
        if isinstance(node, ast.Compare | ast.Call):  # compared, or cut up to be; recording a version is no question
            asked = [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node.func]
            versions = [n for part in asked for n in ast.walk(part) if getattr(n, "attr", "") == "__version__"]
            yield from (f"asks for {ast.unparse(version)}" for version in versions)


def faults(path: Path, source: str) -> list[str]:
    """Sentences on what a file of fer_tf or experiments must not do; path relative to the root."""
    parts = path.with_suffix("").parts
    package, tree = ".".join(parts[:-1]), ast.parse(source)
    names = sorted(set(imports(tree, package)))
    found = [] if parts == ("fer_tf", "compat") else list(knows_keras(tree, package))
    if parts[0] == "experiments":
        return found
    room = parts[1]
    found += [f"imports {name}" for name in names if name.split(".")[0] in ("absl", "experiments")]
    lazy = room in LAZY_TENSORFLOW
    heavy = sorted(set(imports(at_import(tree), package))) if lazy else names
    if room in WITHOUT_TENSORFLOW or lazy:
        found += [f"imports {name}" for name in heavy if name.split(".")[0] in TENSORFLOW or name.endswith(".compat")]
    own = [name.split(".") for name in names if name.split(".")[0] == "fer_tf" and name.split(".")[1:]]
    allowed = BELOW.get(room, set()) | {"compat", "__version__"}
    return found + [f"imports {'.'.join(name)}" for name in own if name[1] not in allowed]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_keeps_the_rules(path):
    assert faults(path.relative_to(ROOT), path.read_text()) == []


def test_every_room_is_in_the_table():
    rooms = {path.relative_to(ROOT / "fer_tf").with_suffix("").parts[0] for path in FILES if "fer_tf" in path.parts}
    assert rooms - {"__init__"} <= set(BELOW)


@pytest.mark.parametrize(
    "path, source",
    [
        ("fer_tf/models/a.py", "from fer_tf.models import fer_net"),
        ("fer_tf/models/a.py", "from fer_tf.models.fer_net import FERNet"),
        ("fer_tf/models/a.py", "from . import fer_net"),
        ("fer_tf/models/a.py", "from ..datasets.fer2013 import records"),
        ("fer_tf/models/a.py", "def f():\n    from fer_tf import datasets"),
        ("fer_tf/models/a.py", "from absl import flags"),
        ("fer_tf/models/a.py", "from fer_tf import training"),
        ("fer_tf/training.py", "import absl.flags"),
        ("fer_tf/training.py", "from fer_tf import pipeline"),
        ("fer_tf/pipeline.py", "import experiments.common"),
        ("fer_tf/augment.py", "import fer_tf.pipeline"),
        ("fer_tf/records.py", "import tensorflow as tf"),
        ("fer_tf/records.py", "from fer_tf import compat"),
        ("fer_tf/faces.py", "def f():\n    import tensorflow as tf"),
        ("fer_tf/datasets/a.py", "from tensorflow import io"),
        ("fer_tf/datasets/a.py", "from fer_tf import faces"),
        ("fer_tf/metrics.py", "import tensorflow as tf"),
        ("fer_tf/metrics.py", "class A:\n    import tensorflow as tf"),
        ("fer_tf/layers.py", "import keras"),
        ("fer_tf/layers.py", "from keras.layers import Dense"),
        ("fer_tf/layers.py", "from tensorflow import keras"),
        ("fer_tf/layers.py", "import tensorflow as tf\nx = tf.keras.layers"),
        ("fer_tf/layers.py", "from fer_tf.compat import KERAS_3"),
        ("fer_tf/layers.py", "from fer_tf import compat\nif compat.KERAS_3: pass"),
        ("fer_tf/layers.py", "import tensorflow as tf\nnew = tf.__version__ >= '2.16'"),
        ("experiments/a.py", "import tensorflow as tf\nnew = tf.__version__.startswith('2.15')"),
        ("experiments/a.py", "import tensorflow as tf\ntf.keras.backend.clear_session()"),
    ],
)
def test_faults_are_found(path, source):
    assert faults(Path(path), source)


@pytest.mark.parametrize(
    "path, source",
    [
        ("fer_tf/models/a.py", "import tensorflow as tf\nfrom fer_tf.compat import keras\nfrom fer_tf import losses"),
        ("fer_tf/metrics.py", "def f():\n    import tensorflow as tf"),
        ("fer_tf/export.py", "import fer_tf\nfrom fer_tf import __version__, weights\nversion = fer_tf.__version__"),
        (
            "experiments/a.py",
            "from absl import flags\nfrom experiments import common\nfrom fer_tf.models import fer_net",
        ),
    ],
)
def test_what_is_allowed_is_no_fault(path, source):
    assert faults(Path(path), source) == []
