"""SageMaker's containers with several models; `/invocations` is in `mlflow`."""
