"""TensorFlow Serving: status, metadata and predict over REST and gRPC, classify and regress over REST.

Source: tensorflow/serving, `tensorflow_serving/g3doc/api_rest.md` and `tensorflow_serving/apis/*.proto`, tensorflow,
`core/framework/tensor.proto`; where these are silent, what its server answers.
"""
