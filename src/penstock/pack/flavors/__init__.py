"""One file per model library: how to describe a trained model of it, store it and ask it.

Each has `describe(estimator) -> Description`, `answer(estimator, x) -> dict of arrays`,
`adapt(estimator, options, signature) -> Model` and `store(estimator, folder, options) -> Artifact`.
They are imported on demand, because each needs its library.
"""
