"""TensorFlow Serving's REST contract: status, metadata, predict, classify, regress.

Source: tensorflow/serving, `tensorflow_serving/g3doc/api_rest.md`; where the page is silent, what its server answers.
"""
