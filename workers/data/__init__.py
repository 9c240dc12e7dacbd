"""The data sets."""

from workers.data import cifar, imagenet, mnist1d
from workers.data.cache import MappedData, default_cache, fingerprint, open_data
from workers.data.registry import DATA_SETS, Arrays, DataError, DataSet, Source, data_set

__all__ = [
    "DATA_SETS",
    "Arrays",
    "DataError",
    "DataSet",
    "MappedData",
    "Source",
    "cifar",
    "data_set",
    "default_cache",
    "fingerprint",
    "imagenet",
    "mnist1d",
    "open_data",
]
