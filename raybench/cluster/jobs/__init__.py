"""What runs on a cluster, a file a job."""

__all__ = [
    "adoption",
    "benching",
    "daily",
    "demo",
    "explaining",
    "features",
    "ownership",
    "scoring",
    "training",
    "tuning",
    "tuning_report",
]
