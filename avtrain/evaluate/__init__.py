"""Evaluation: frozen features in, numbers out."""

from avtrain.evaluate.accuracy import ClassificationAccuracy, LabelledFeatures
from avtrain.evaluate.knn import knn_accuracy
from avtrain.evaluate.linear_probe import linear_probe_accuracy
from avtrain.evaluate.noise_detection import (
    SwappedReport,
    TwinReport,
    swapped_detection_auc,
    swapped_report,
    twin_target_mass,
)
from avtrain.evaluate.retrieval import (
    CrossModalRetrieval,
    RetrievalMetrics,
    cross_modal_retrieval,
    retrieval_metrics,
)

__all__ = [
    "ClassificationAccuracy",
    "CrossModalRetrieval",
    "LabelledFeatures",
    "RetrievalMetrics",
    "SwappedReport",
    "TwinReport",
    "cross_modal_retrieval",
    "knn_accuracy",
    "linear_probe_accuracy",
    "retrieval_metrics",
    "swapped_detection_auc",
    "swapped_report",
    "twin_target_mass",
]
