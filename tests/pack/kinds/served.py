"""A packed bundle, verified, loaded as a node would load it, its golden rows replayed."""

from penstock.bundle.bundle import verify_directory
from penstock.runtime import golden
from penstock.runtime.load import load_model


def served(packed, **permits):
    bundle = verify_directory(packed.path, packed.digest)
    model = load_model(bundle, **permits)
    golden.replay(model, bundle)
    return bundle.manifest, model
