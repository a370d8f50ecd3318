"""Everything pip needs. `pip install .` for use, `pip install -e ".[dev]"` for work on it."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "fer_tf/__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)

setup(
    name="fer-tf",
    version=VERSION,
    description="Facial expression recognition by generating faces: five papers in TensorFlow and Keras",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    # a checkout's experiments/ and weights/ are installed below fer_tf, where no user's own folder meets them
    packages=[
        *find_packages(include=["fer_tf", "fer_tf.*"]),
        *(f"fer_tf.{name}" for name in find_packages(include=["experiments", "experiments.*"])),
        "fer_tf.released",
    ],
    package_dir={"fer_tf.experiments": "experiments", "fer_tf.released": "weights"},
    entry_points={"console_scripts": ["fer-tf = fer_tf.experiments.__main__:main"]},
    package_data={
        "fer_tf": ["py.typed"],
        "fer_tf.released": ["*.h5", "README.md"],
        "fer_tf.datasets": ["*.h5", "*.LICENSE"],
        "fer_tf.experiments.parts.export": ["page/*"],
    },
    install_requires=[
        "tensorflow>=2.15",  # networks, training, tf.data, SavedModel; brings Keras
        "numpy",  # arrays outside the graph
        "h5py",  # weights and the rendered faces
        "absl-py",  # the command-line flags
        "pillow>=10.1",  # reads pictures of every kind, resizes, draws
        "matplotlib",  # confusion matrices, curves, grids
        "scikit-learn",  # t-SNE and the nearest-neighbour baselines
        "threadpoolctl",  # keeps t-SNE to one thread; scikit-learn brings it
        "av>=15",  # reads and writes films; FFmpeg's libraries, prebuilt
        "dlib-bin",  # finds faces; dlib itself, prebuilt
        # equalises faces in GCNet's pipeline, 2.3 times as fast as ours; the newest for numpy < 2 is 4.11
        "opencv-python-headless>=4.11",
    ],
    extras_require={
        "dev": [
            "pytest",  # runs the tests ...
            "pytest-xdist",  # ... two files at a time ...
            "pytest-timeout",  # ... and ends one that hangs
            "setuptools>=70.1,<81",  # the tests build an sdist and a wheel
            "ruff",  # lint and format ...
            "mypy",  # ... and types
            "scipy",  # the reference that augmentation is tested against
            "scikit-image",  # a public-domain photograph, and CLAHE's second reference
            "tensorboard",  # --tensorboard, which the newest TensorFlow no longer brings
            "nbclient",  # executes the notebooks in the tests ...
            "nbformat",
            "ipykernel",  # ... in a kernel
        ],
        "addons": [  # the older stack (Python <= 3.11), whose layers are the reference that ours must equal
            "tensorflow==2.15.1",
            "tensorflow-addons==0.23.0",
            "keras-cv==0.9.0",
            "numpy<2",
        ],
        "tensorboard": ["tensorboard"],  # --tensorboard's event files; TensorFlow before 2.21 brings it
        "mlflow": ["mlflow-skinny", "sqlalchemy", "alembic"],  # --mlflow; the latter two for its default, a file
        "landmarks": [
            "face-recognition-models"
        ],  # dlib's 68 points and its face embedding; non-commercial training data
        "mtcnn": ["mtcnn==1.0.0"],  # --detector=mtcnn: ED2L's face detector, with five points of each face
        "export": [  # fer-tf export to ONNX and to a page; LiteRT is in TensorFlow itself
            # with tensorflow 2.15.1 (numpy 1.26, onnx 1.18.0) and 2.21.0 (numpy 2.4, onnx 1.23.2)
            "tf2onnx==1.17.0",  # turns graphs into ONNX; earlier ones want protobuf 3, TensorFlow a newer one
            "onnx>=1.18,!=1.19.0,<1.24",  # stores them; 1.19.0 needs newer ml_dtypes than TensorFlow 2.15 has, unsaid
            "onnxruntime>=1.32,<2",  # compares what is written with the model, and predicts by it
        ],
        "heic": ["pillow-heif"],  # reads the photographs of iPhones
        "render": ["mitsuba"],  # renders the faces of fer_tf/datasets/rendered.h5 anew
        "ray": ["ray>=2.9"],  # experiments.grid --engine=ray: jobs on a Ray cluster; Ray core alone
        "slurm": ["submitit>=1.5"],  # experiments.grid --engine=slurm: arrays of jobs
        "bench": ["torch==2.13.0"],  # the same step in PyTorch, for side-by-side timings only
    },
    classifiers=["License :: OSI Approved :: MIT License", "Programming Language :: Python :: 3"],
)
