"""Hooks of the site's build: files of the repository that pages link to become part of the site.

Pages link to code, tables and pictures as they lie in the repository, so that the links lead somewhere on GitHub, too.
MkDocs knows nothing outside docs/: what is linked is put under repository/, and the links are turned to it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify
from pymdownx.superfences import fence_code_format

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)#\s]+)(#[^)]*)?\)")
COPIES = "repository"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Say what YAML can say by names of Python alone: diagrams, and anchors as GitHub makes them."""
    config.mdx_configs["pymdownx.superfences"] = {
        "custom_fences": [{"name": "mermaid", "class": "mermaid", "format": fence_code_format}]
    }
    config.mdx_configs["toc"] = {"permalink": True, "slugify": slugify(case="lower")}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages of docs/ link to outside of it, and what those link to in turn."""
    waiting = {path for file in files.documentation_pages() for path in _outside(f"docs/{file.src_uri}")}
    known: set[str] = set()
    while waiting:
        path = waiting.pop()
        known.add(path)
        content = ROOT / path
        files.append(File.generated(config, site_uri(path), content=content.read_bytes()))
        waiting |= set(_outside(path)) - known if path.endswith(".md") else set()
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links out of docs/ to where the files are in the site."""
    uri = page.file.src_uri
    here = uri.removeprefix(f"{COPIES}/") if uri.startswith(f"{COPIES}/") else f"docs/{uri}"

    def turn(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), match[2]))
        link = posixpath.relpath(site_uri(target), posixpath.dirname(uri))
        return f"{match[1]}{link}{match[3] or ''})"

    return LINK.sub(turn, markdown)


def site_uri(path: str) -> str:
    """Return where a file of the repository, named from its root, is in the site's sources."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{COPIES}/{path}"


def _outside(page: str) -> Iterator[str]:
    """Yield the files outside docs/ that a page links to; folders, and what is not there, are not among them."""
    for match in LINK.finditer((ROOT / page).read_text(encoding="utf-8")):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), match[2]))
        if not target.startswith(("docs/", "..")) and (ROOT / target).is_file():
            yield target
