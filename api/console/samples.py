"""Samples that a command names by reference, such as 'mnist:test[0:1024]'."""

from __future__ import annotations

from api.console.refusals import meaning
from federated.data import DatasetRef, Samples, load_samples
from federated.errors import DatasetRefInvalid
from federated.settings import Settings


def load_reference(reference: str, *, hint: str = "--dataset") -> Samples:
    """The samples, from this machine; a usage error when the reference names none.

    Raises DatasetMissing, DatasetCorrupt, OSError.
    """
    with meaning(hint, DatasetRefInvalid):
        return load_samples(DatasetRef.parse(reference), Settings.from_environment().data_dir)
