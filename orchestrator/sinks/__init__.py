"""Sinks: write the metrics of committed stages as TensorBoard, MLflow and Weights & Biases expect them.

A sink is given runs (``run.py``), one for each stage. It remembers in its own files which stages it has, so that an
export can be repeated. No module here imports a tool before its sink is opened.
"""
