"""Which modules are not looked into for examples: those of libraries that are not here, one extra each."""

from importlib.util import find_spec

# By the library that they import at once; their tests run by `make verify WHAT=kinds`.
HEAVY = {
    "ai_edge_litert": ("tflite",),
    "spacy": ("spacy",),
    "tensorflow": ("tensorflow",),
    "PIL": ("huggingface_images",),
    "torch": ("torch", "huggingface_export"),
}
collect_ignore = [
    f"src/penstock/{package}/{name}.py"
    for library, names in HEAVY.items()
    if find_spec(library) is None
    for name in names
    for package in ("pack/flavors", "runtime/frameworks")
]
if find_spec("mlflow") is None:
    collect_ignore.append("src/penstock/mlflow_plugin.py")
