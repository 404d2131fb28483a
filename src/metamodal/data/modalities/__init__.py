"""The kinds of modality: how a raw cell becomes a tensor, one file each.

| kind | a cell | tensor of n cells |
|---|---|---|
| `image` | path, bytes, PIL image, array | `(n, channels, size, size)` |
| `series` | steps × channels | `(n, channels + 1, length)`; the last channel is the duration |
| `text` | string | `(n, buckets)` hashed n-gram weights |
| `tabular` | record, or the scalar columns of a row | `(n, width)` |
| `embedding` | vector | `(n, width)` |
"""

from metamodal.data.modalities.audio import Audio
from metamodal.data.modalities.embedding import Embedding
from metamodal.data.modalities.image import Image
from metamodal.data.modalities.protocol import Modality, modalities
from metamodal.data.modalities.series import Series
from metamodal.data.modalities.tabular import Tabular
from metamodal.data.modalities.text import Text

__all__ = ["Audio", "Embedding", "Image", "Modality", "Series", "Tabular", "Text", "modalities"]
