"""From a trained model to a sealed bundle: convert, prove equal, measure."""
