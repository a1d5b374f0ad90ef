"""Every error a user can cause, as a tree.

    RaybenchError
    +-- UserError            exit code 2: one line that says what was given, what was wanted, what to change
        +-- ConfigError      the configuration file or an override
        +-- DataError        bars, feature tables, universes, segments
        +-- RunError         run directories, artifacts, weights
        +-- ResourceError    the cluster cannot give what was asked for
        +-- TrainingError    a training that cannot go on (NaN loss, no samples)

Each takes the message alone, so each pickles: errors cross Ray between processes.
"""

from __future__ import annotations


class RaybenchError(Exception):
    """Anything raybench raises on purpose."""


class UserError(RaybenchError):
    """Something the user can put right; the command line prints it as one line and exits with 2."""


class ConfigError(UserError):
    """A configuration that cannot be run."""


class DataError(UserError):
    """Bars, features, labels or universes that cannot be used."""


class RunError(UserError):
    """A run directory, artifact or weights file that cannot be used."""


class ResourceError(UserError):
    """The cluster does not have what the configuration asks for."""


class TrainingError(UserError):
    """A training that has to stop: its loss, labels or samples are unusable."""
