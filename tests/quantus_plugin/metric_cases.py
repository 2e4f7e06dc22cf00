"""Every metric of Quantus 0.6.0, with settings under which it runs on 16 x 16 pixels in well under a second."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    # faithfulness
    "FaithfulnessCorrelation": {"nr_runs": 5, "subset_size": 32},
    "FaithfulnessEstimate": {"features_in_step": 32},
    "PixelFlipping": {"features_in_step": 64},
    "RegionPerturbation": {"patch_size": 4, "regions_evaluation": 4},
    "Monotonicity": {"features_in_step": 64},
    "MonotonicityCorrelation": {"nr_samples": 2, "features_in_step": 128},
    "Selectivity": {"patch_size": 4},
    "SensitivityN": {"features_in_step": 64, "n_max_percentage": 0.8},
    "IROF": {},
    "ROAD": {"percentages": [10, 50], "noise": 0.1},
    "Infidelity": {"perturb_patch_sizes": [8], "n_perturb_samples": 2},
    "Sufficiency": {"threshold": 0.9},
    # robustness
    "Continuity": {"nr_steps": 4},
    "LocalLipschitzEstimate": {"nr_samples": 3},
    "MaxSensitivity": {"nr_samples": 3},
    "AvgSensitivity": {"nr_samples": 3},
    "Consistency": {},
    "RelativeInputStability": {"nr_samples": 3},
    "RelativeOutputStability": {"nr_samples": 3},
    "RelativeRepresentationStability": {"nr_samples": 3},
    # localisation
    "PointingGame": {},
    "TopKIntersection": {"k": 50},
    "RelevanceMassAccuracy": {},
    "RelevanceRankAccuracy": {},
    "AttributionLocalisation": {},
    "AUC": {},
    "Focus": {},
    # complexity
    "Sparseness": {},
    "Complexity": {},
    "EffectiveComplexity": {},
    # randomisation
    "MPRT": {},
    "SmoothMPRT": {"nr_samples": 2},
    "EfficientMPRT": {},
    "RandomLogit": {"num_classes": 3},
    # axiomatic
    "Completeness": {},
    "NonSensitivity": {"features_in_step": 1},
    "InputInvariance": {},
}
