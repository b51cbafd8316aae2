"""Sees that no link of a book leads nowhere: book.py BOOK SOURCES

A link that stays in the book is to one of its pages, and to a heading of that; one that leaves it is to a file
of the repository that the sources are in.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.update(attrs[key] for key in ("id", "name") if attrs.get(key))
        # What a page is made of besides is mdBook's own.
        key = {"a": "href", "img": "src"}.get(tag)
        if attrs.get(key):
            self.links.add(attrs[key])


def fault(link, page, book, sources, pages):
    """Returns why a link leads nowhere, or nothing."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not path.is_relative_to(book):
        # The same way from the sources leads into the repository.
        there = sources / page.parent.relative_to(book) / unquote(parts.path)
        found = there.exists() or there.with_suffix(".md").exists()
        return None if found else "there is no such file"
    if path.is_dir():
        path = path / "index.html"
    if not path.exists():
        return "there is no such page"
    fragment = unquote(parts.fragment)
    if path.suffix == ".html" and fragment and fragment not in pages[path].anchors:
        return "there is no such heading"
    return None


def main(book, sources):
    book, sources = Path(book).resolve(), Path(sources).resolve()
    # What has all pages on one has links of its own making; the page of a missing one has a base.
    left_out = {"print.html", "404.html"}
    paths = [path for path in book.rglob("*.html") if path.name not in left_out]
    pages = {path: Page(path) for path in book.rglob("*.html")}
    if len(paths) < 50:
        sys.exit(f"the book has {len(paths)} pages alone")
    faults = 0
    for path in sorted(paths):
        for link in sorted(pages[path].links):
            why = fault(link, path, book, sources, pages)
            if why:
                faults += 1
                print(f"{path.relative_to(book)}: {link}: {why}")
    links = sum(len(pages[path].links) for path in paths)
    print(f"{len(paths)} pages, {links} links")
    sys.exit(1 if faults else 0)


main(*sys.argv[1:])
