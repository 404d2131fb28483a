"""What the report draws, as HTML that needs no other file: the cells of a row, and curves.

`painter` draws the rows of a table, one file a family of kinds:

| file | draws |
|---|---|
| `words` | texts, sequences of symbols, records of scalars |
| `media` | images, sounds, clips |
| `series` | lines with their gaps, strokes of a pen, heat maps |
| `shapes` | graphs and clouds of points |
| `bars` | embeddings |
"""

from metamodal.reporting.pictures.curve import curve, lines, scatter
from metamodal.reporting.pictures.painter import Picture, painter, pictures

__all__ = ["Picture", "curve", "lines", "painter", "pictures", "scatter"]
