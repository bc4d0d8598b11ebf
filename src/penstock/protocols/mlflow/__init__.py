"""MLflow's scoring server: `/invocations`, which SageMaker's containers have at the same address."""
