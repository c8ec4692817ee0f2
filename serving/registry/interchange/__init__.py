"""Models from and for other tools: MLflow and the layout of Triton."""
