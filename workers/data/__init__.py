"""Data sets: the built-in ones, the registry that plugins add to, and their preparation for a host."""

from workers.data.errors import DataError
from workers.data.fingerprints.content import change, covered, why_anew
from workers.data.images.encoded import Encoded, FilePictures, Pictures
from workers.data.preparing.cache import (
    MappedData,
    StreamedData,
    default_cache,
    find_source,
    fingerprint,
    open_data,
    prepared_folder,
)
from workers.data.preparing.resizing import check_image_size
from workers.data.preparing.writing import ProgressCallback
from workers.data.registry import (
    DATA_SETS,
    Arrays,
    DataSet,
    Source,
    SplitSummary,
    data_set,
    data_set_names,
    find_data_set,
)
from workers.data.sets import cifar, image_folder, imagenet, mnist1d, tiny_imagenet

__all__ = [
    "DATA_SETS",
    "Arrays",
    "DataError",
    "DataSet",
    "Encoded",
    "FilePictures",
    "MappedData",
    "Pictures",
    "ProgressCallback",
    "Source",
    "SplitSummary",
    "StreamedData",
    "change",
    "check_image_size",
    "cifar",
    "covered",
    "data_set",
    "data_set_names",
    "default_cache",
    "find_data_set",
    "find_source",
    "fingerprint",
    "image_folder",
    "imagenet",
    "mnist1d",
    "open_data",
    "prepared_folder",
    "tiny_imagenet",
    "why_anew",
]
