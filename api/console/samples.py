"""Samples that a command names by reference, such as 'mnist:test[0:1024]'."""

from __future__ import annotations

import typer

from federated.data import DatasetRef, Samples, load_samples
from federated.errors import DatasetRefInvalid
from federated.settings import Settings


def load_reference(reference: str) -> Samples:
    """The samples, from this machine; a usage error when the reference names none.

    Raises DatasetMissing, DatasetCorrupt, OSError.
    """
    try:
        return load_samples(DatasetRef.parse(reference), Settings.from_environment().data_dir)
    except DatasetRefInvalid as error:
        raise typer.BadParameter(str(error), param_hint="--dataset") from error
