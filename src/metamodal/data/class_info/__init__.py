"""Class information: what is known of classes before any row of them.

| file | holds |
|---|---|
| `information` | what a model can know of classes: a reader of descriptions, and shared names |
| `descriptions` | how a class's description becomes a vector |
| `shared_names` | whether equal class names of several tasks mean the same class |
| `table` | the class information of each row of a table |
"""

from metamodal.data.class_info.descriptions import DescriptionReader
from metamodal.data.class_info.information import ClassInfo
from metamodal.data.class_info.shared_names import SharedNames, shared_names
from metamodal.data.class_info.table import ClassTable

__all__ = ["ClassInfo", "ClassTable", "DescriptionReader", "SharedNames", "shared_names"]
