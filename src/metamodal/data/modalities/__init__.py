"""The kinds of modality: how a raw cell becomes a tensor, one file each.

| kind | a cell | tensor of n cells |
|---|---|---|
| `image` | path, bytes, PIL image, array | `(n, channels, size, size)` |
| `audio` | path, bytes, samples, record of samples and rate | `(n, 2, mels, frames)`; channel 1 is a mask |
| `video` | path, bytes, list of pictures or vectors, array | `(n, frames, channels, size, size)` or `(n, frames, width)` |
| `series` | steps × channels, symbols, record of times and values | `(n, channels + 1, length)`; the last channel is the duration |
| `points` | path, bytes, points × coordinates | `(n, points, columns + 2)`; the last column is a mask |
| `graph` | record of nodes and edges | `(n, nodes, features + 1 + nodes)`: features, mask, adjacency |
| `text` | string | `(n, buckets)` hashed n-gram weights |
| `tabular` | record, or the scalar columns of a row | `(n, width)` |
| `embedding` | vector | `(n, width)` |
"""

from metamodal.data.modalities.audio import Audio
from metamodal.data.modalities.embedding import Embedding
from metamodal.data.modalities.graph import Graph
from metamodal.data.modalities.image import Image
from metamodal.data.modalities.points import Points
from metamodal.data.modalities.protocol import Modality, modalities
from metamodal.data.modalities.series import Series
from metamodal.data.modalities.tabular import Tabular
from metamodal.data.modalities.text import Text
from metamodal.data.modalities.video import Video

__all__ = [
    "Audio",
    "Embedding",
    "Graph",
    "Image",
    "Modality",
    "Points",
    "Series",
    "Tabular",
    "Text",
    "Video",
    "modalities",
]
