"""What a page consists of, as a browser reads it."""

from html.parser import HTMLParser

_VOID = {"meta", "link", "br", "img", "wbr", "input", "hr"}


class Page(HTMLParser):
    """Elements of a page: name, attributes, and the text below."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open, [each["tag"] for each in self._open]

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "attrs": dict(attrs), "text": "", "children": []}
        for each in self._open[-1:]:
            each["children"].append(element)
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        element = {"tag": tag, "attrs": dict(attrs), "text": "", "children": []}
        self._open[-1]["children"].append(element)
        self.elements.append(element)

    def handle_endtag(self, tag):
        assert self._open[-1]["tag"] == tag, f"<{self._open[-1]['tag']}> is closed by </{tag}>"
        self._open.pop()

    def handle_data(self, data):
        for each in self._open:
            each["text"] += data

    def all(self, tag):
        return [each for each in self.elements if each["tag"] == tag]

    def descendants(self, element, tag):
        found = []
        for child in element["children"]:
            found += [child] if child["tag"] == tag else []
            found += self.descendants(child, tag)
        return found

    @property
    def text(self):
        return self.elements[0]["text"]
