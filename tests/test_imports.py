"""Who may import whom: the rules of the house, read from the source of every file.

    command -> its parts -> run -> fer_tf

A file of experiments/ is a command, which never imports another; parts/P is of the commands P, P_... and ..._P; run/ is
of all. absl's flags are known to run/command_line.py alone, and nothing is long.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = sorted(p.stem for p in (ROOT / "experiments").glob("*.py") if not p.stem.startswith("__"))
FLAGS_FILE = ("experiments", "run", "command_line")
LINES, SCREEN = 450, 60
"""The longest file, and the longest function with its docstring."""
FILES = sorted(path for room in ("fer_tf", "experiments") for path in (ROOT / room).rglob("*.py"))

# Module or folder of fer_tf -> the parts of fer_tf that it may import, beside compat and the package's own version.
BELOW = {
    "augment": {"equalise", "philox", "warp"},
    "equalise": set(),
    "philox": set(),
    "resident": set(),
    "warp": set(),
    "archives": set(),
    "checkpoints": set(),
    "devices": set(),
    "draws": set(),
    "catalogue": {"archives", "datasets", "protocols", "records"},
    "files": set(),
    "locks": set(),
    "nets": {"draws", "layers", "losses", "nets"},
    "clusters": set(),
    "replicas": set(),
    "workers": {"clusters", "devices", "files"},
    "compat": {"feeding", "keras_settings", "replicas", "scores"},
    "keras_settings": set(),
    "feeding": set(),
    "scores": {"feeding"},
    "cascade": set(),
    "faces": {"cascade"},
    "film_writing": {"files"},
    "film_sources": set(),
    "films": {"film_sources", "film_writing"},
    "albums": {"pictures"},
    "beside": set(),
    "tracks": set(),
    "answers": {"faces"},
    "frames": set(),
    "figures": {"files"},
    "layers": {"draws", "replicas"},
    "losses": set(),
    "metrics": {"files"},
    "paired": set(),
    "predictions": {"files", "paired", "records"},
    "pictures": set(),
    "randaugment": {"augment"},
    "protocols": {"records", "trees"},
    "records": {"files", "films", "recordio"},
    "recordio": set(),
    "schedules": set(),
    "spec": set(),
    "trees": set(),
    "weights": {"files"},
    "lists": set(),
    "upright": {"faces", "films", "pictures"},
    "classfolders": {"records", "trees"},
    "people": {"classfolders", "records", "trees"},
    "renderings": {"records"},
    "datasets": {
        "classfolders",
        "films",
        "frames",
        "lists",
        "people",
        "pictures",
        "recordio",
        "records",
        "renderings",
        "trees",
        "upright",
    },
    "pipeline": {"augment", "faces", "records", "resident", "store", "streams"},
    "streams": set(),
    "store": {"faces", "films", "pictures", "recordio", "records"},
    "softmax": {"layers", "losses"},
    "step_views": {"draws", "layers", "warp"},
    "models": {
        "softmax",
        "nets",
        "draws",
        "layers",
        "losses",
        "schedules",
        "augment",
        "records",
        "spec",
        "step_views",
        "warp",
    },
    "evaluation": {"devices", "predictions", "training", "figures", "moving_statistics"},
    "moving_statistics": set(),
    "steps": {"devices", "replicas", "streams"},
    "trained_on": {"files", "records"},
    "training": {"checkpoints", "devices", "files", "steps", "trained_on", "workers"},
    "framing": {"pictures"},
    "serving": {"faces", "framing"},
    "export": {"devices", "faces", "files", "framing", "pictures", "serving", "spec", "weights"},
    "conversion": {"devices", "export", "files", "framing"},
    "named": {"conversion", "export", "weights"},
    "recognise": {"albums", "answers", "export", "faces", "films", "named", "pictures", "tracks", "upright"},
}
WITHOUT_TENSORFLOW = {
    "archives",
    "catalogue",
    "classfolders",
    "clusters",
    "lists",
    "people",
    "files",
    "keras_settings",
    "protocols",
    "recordio",
    "records",
    "renderings",
    "faces",
    "albums",
    "answers",
    "beside",
    "film_sources",
    "film_writing",
    "tracks",
    "films",
    "frames",
    "locks",
    "paired",
    "pictures",
    "predictions",
    "trained_on",
    "trees",
    "upright",
    "datasets",
}  # nowhere; those below: not when they are imported
LAZY_TENSORFLOW = {"metrics", "figures", "named", "recognise"}
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


def knows_flags(tree: ast.AST, package: str) -> Iterator[str]:
    """Where a file reaches for absl or its flags, or asks settings what they have: it is to be given what it needs."""
    yield from (f"imports {name}" for name in imports(tree, package) if name.split(".")[0] == "absl")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "FLAGS":
            yield "reads FLAGS"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "flags":
            yield f"uses {ast.unparse(node)}"
        if isinstance(node, ast.Attribute) and node.attr == "FLAGS":
            yield f"reads {ast.unparse(node)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            upward = node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) == 3)
            if upward and ast.unparse(node.args[0]) in ("settings", "self.settings"):
                yield f"asks {ast.unparse(node)}"


def too_long(tree: ast.AST, source: str) -> Iterator[str]:
    """The file, or its functions, that want to be two."""
    if source.count("\n") > LINES:
        yield f"has {source.count(chr(10))} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= SCREEN:
            yield f"{node.name} has {node.end_lineno - node.lineno + 1} lines"


def owns(command: str, part: str) -> bool:
    """Whether parts/<part> is of a command."""
    return command == part or command.startswith(f"{part}_") or command.endswith(f"_{part}")


def beside(parts: tuple[str, ...], tree: ast.AST, package: str) -> Iterator[str]:
    """Where a file of experiments imports a command or another's parts, or names the house as a checkout has it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0):
            for name in imports(node, package):
                if name.split(".")[0] == "experiments" or name.startswith("fer_tf.experiments"):
                    yield f"imports {name} by its full name, which an installed one has not: use dots"
    room = parts[1] if len(parts) > 2 else "command"
    for name in sorted({*imports(tree, package)}):
        words = name.split(".")
        if words[0] != "experiments" or words[1:2] in ([], ["run"]):
            continue
        if words[1] != "parts":
            yield f"imports the command {name}"
        elif room == "run":
            yield f"imports {name}, which is above it"
        elif not (owns(parts[1], words[2]) if room == "command" else words[2] == parts[2]):
            yield f"imports {name}, which is another's"


def faults(path: Path, source: str) -> list[str]:
    """Sentences on what a file of fer_tf or experiments must not do; path relative to the root."""
    parts = path.with_suffix("").parts
    package, tree = ".".join(parts[:-1]), ast.parse(source)
    names = sorted(set(imports(tree, package)))
    broken = [] if parts == ("fer_tf", "compat") else list(knows_keras(tree, package))
    broken += too_long(tree, source)
    if parts != FLAGS_FILE:
        broken += knows_flags(tree, package)
    if parts[0] == "experiments":
        return broken + list(beside(parts, tree, package))
    room = parts[1]
    broken += [f"imports {name}" for name in names if name.split(".")[0] == "experiments"]
    lazy = room in LAZY_TENSORFLOW
    heavy = sorted(set(imports(at_import(tree), package))) if lazy else names
    if room in WITHOUT_TENSORFLOW or lazy:
        broken += [f"imports {name}" for name in heavy if name.split(".")[0] in TENSORFLOW or name.endswith(".compat")]
    own = [name.split(".") for name in names if name.split(".")[0] == "fer_tf" and name.split(".")[1:]]
    allowed = BELOW.get(room, set()) | {"compat", "__version__"}
    return broken + [f"imports {'.'.join(name)}" for name in own if name[1] not in allowed]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_keeps_the_rules(path):
    assert faults(path.relative_to(ROOT), path.read_text(encoding="utf-8")) == []


def test_every_room_is_in_the_table():
    rooms = {path.relative_to(ROOT / "fer_tf").with_suffix("").parts[0] for path in FILES if "fer_tf" in path.parts}
    assert rooms - {"__init__"} <= set(BELOW)


def test_the_folder_lists_the_commands_and_nothing_else():
    """`ls experiments`: commands, the rooms run, parts and colab, and the tables."""
    others = {p.name for p in (ROOT / "experiments").iterdir()} - {f"{name}.py" for name in COMMANDS}
    assert others - {"__pycache__", "runs"} == {"__init__.py", "__main__.py", "run", "parts", "colab", "RESULTS.md"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_experiments_is_a_command(name):
    """It says how it is run, has settings and a function of them, and runs."""
    tree = ast.parse((ROOT / "experiments" / f"{name}.py").read_text(encoding="utf-8"))
    doc = ast.get_docstring(tree) or ""
    assert f"python -m experiments.{name}" in doc and doc.split("\n")[0].endswith(".")
    made = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    assert isinstance(made["Settings"], ast.ClassDef) and ast.get_docstring(made["Settings"])
    assert [a.arg for a in made["run"].args.args] == ["settings"]
    last = tree.body[-1]
    assert isinstance(last, ast.If) and ast.unparse(last.test) == "__name__ == '__main__'"
    assert [ast.unparse(line) for line in last.body] == ["command_line.main(Settings, run)"]


def test_every_room_of_parts_is_of_a_command():
    rooms = [p.name for p in (ROOT / "experiments/parts").iterdir() if p.is_dir() and p.name != "__pycache__"]
    assert "ed2l" in rooms and all(any(owns(name, room) for name in COMMANDS) for room in rooms), rooms


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
        ("experiments/a.py", "from . import b"),
        ("experiments/a.py", "from .b import run"),
        ("experiments/a.py", "def f():\n    from . import b"),
        ("experiments/a.py", "from .parts.b import net"),
        ("experiments/a.py", "from .parts.ab import net"),
        ("experiments/a.py", "from .parts import b"),
        ("experiments/a.py", "from experiments.run import data"),
        ("experiments/a.py", "import experiments.run.data"),
        ("experiments/a.py", "from fer_tf.experiments.run import data"),
        ("experiments/a.py", "from fer_tf import experiments"),
        ("experiments/parts/a/net.py", "from ..b import net"),
        ("experiments/parts/a/net.py", "from ... import a"),
        ("experiments/parts/a/net.py", "from ...a import run"),
        ("experiments/parts/a/net.py", "from .. import b"),
        ("experiments/run/a.py", "from ..parts.b import net"),
        ("experiments/run/a.py", "from .. import b"),
        ("experiments/run/a.py", "from .. import parts"),
        ("experiments/run/a.py", "from absl import flags"),
        ("experiments/a.py", "import absl.app"),
        ("experiments/a.py", "from .run.common import FLAGS\nx = FLAGS.rate"),
        ("experiments/a.py", "from .run import common\nx = common.FLAGS.rate"),
        ("experiments/a.py", "from .run import flags\nflags.DEFINE_bool('a', True, 'A.')"),
        ("experiments/run/a.py", "x = FLAGS['rate'].value"),
        ("experiments/run/a.py", "def f(settings):\n    return getattr(settings, 'test_on', None)"),
        ("experiments/run/a.py", "def f(settings):\n    return hasattr(settings, 'target')"),
        ("experiments/a.py", "\n" * 451),
        ("experiments/a.py", "def f():\n" + "    x = 1\n" * 60),
        ("fer_tf/layers.py", "class A:\n    def f(self):\n" + "        x = 1\n" * 60),
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
        ("experiments/a.py", "from .run import command_line, data\nfrom fer_tf.models import fer_net"),
        ("experiments/a.py", "from .parts.a import net\nfrom .parts.a.net import build"),
        ("experiments/a_of_b.py", "from .parts.a import net\nfrom .parts import b"),
        ("experiments/parts/a/net.py", "from . import b\nfrom .b import c\nfrom ...run import data"),
        ("experiments/run/a.py", "from . import data\nfrom .data import load\nfrom fer_tf import catalogue"),
        ("experiments/run/command_line.py", "from absl import flags\nx = flags.FlagValues()"),
        ("experiments/run/a.py", "def f(settings, name):\n    return getattr(settings, name)"),
        ("experiments/a.py", "\n" * 450),
        ("experiments/a.py", "def f():\n" + "    x = 1\n" * 59),
    ],
)
def test_what_is_allowed_is_no_fault(path, source):
    assert faults(Path(path), source) == []
