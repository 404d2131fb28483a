"""An HTML page as tests read it: its elements in order, each closed where it should be."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "wbr"}


class Page(HTMLParser):
    """The elements of a page in order, as (tag, attributes, text within)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.raw = text
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        opened = self.elements[self.open.pop()][0]
        assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        for at in self.open:
            self.elements[at][2].append(data)

    def texts(self, tag: str) -> list[str]:
        return [" ".join("".join(words).split()) for t, _, words in self.elements if t == tag]

    def with_class(self, name: str) -> list[str]:
        """The texts of the elements of a class."""
        return [
            " ".join("".join(words).split())
            for _, attributes, words in self.elements
            if name in (attributes.get("class") or "").split()
        ]
