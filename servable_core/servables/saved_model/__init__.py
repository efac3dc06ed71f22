"""TensorFlow SavedModels. The only package of the core that imports TensorFlow, and only when used."""
