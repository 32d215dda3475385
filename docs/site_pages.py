"""Hooks of MkDocs for the site of `make docs`: pages that are no files of docs/, and links that lead out of it.

Nothing is listed by hand: a new module gets its page in the reference, a new decision its place in the navigation.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# Files at the root of the repository -> where they are in the site.
ROOT_FILES = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "RELEASING.md": "project/releasing.md",
    "Resources/SAMMed2D.png": "images/logo.png",
}
LIBRARY = ROOT / "SAMMed2DLib"
SLICER_LAYER = ROOT / "SAMMed2D"
SLICER_API = "SAMMed2DLogic"
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?(?:\s+\"[^\"]*\")?\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add decisions, reference and the project's pages to the navigation."""
    decisions = sorted(path.relative_to(DOCS).as_posix() for path in (DOCS / "decisions").glob("*.md"))
    project = [page for page in ROOT_FILES.values() if page.startswith("project/")]
    reference = [{SLICER_API: f"reference/{SLICER_API}.md"}, {LIBRARY.name: _tree(public_modules())}]
    config.nav = [*(config.nav or []), {"Decisions": decisions}, {"Reference": reference}, {"Project": project}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are no files of docs/."""
    for path, page in ROOT_FILES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    for name in public_modules():
        files.append(File.generated(config, page_of(name), content=f"::: {name}\n"))
    files.append(File.generated(config, f"reference/{SLICER_API}.md", content=f"::: {slicer_api()}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links between files of the repository lead to pages of the site, or else to the code host.

    A link to nothing stays as it is, and MkDocs reports it.
    """
    source = page.file.abs_src_path
    if source is None:
        return markdown

    def in_site(link: re.Match[str]) -> str:
        before, target, after = link.groups()
        return before + address(target, Path(source), page.file.src_uri, str(config.repo_url)) + after

    return LINK.sub(in_site, markdown)


def address(target: str, source: Path, page: str, repository: str) -> str:
    """Where a link leads in the site.

    Args:
        target: what the link says, without its anchor.
        source: the file that it is written in.
        page: that file's place in the site.
        repository: address of the repository at the code host.
    """
    path = (source.parent / target).resolve()
    if "://" in target or not path.exists() or not path.is_relative_to(ROOT):
        return target
    in_repository = path.relative_to(ROOT).as_posix()
    in_site = ROOT_FILES.get(in_repository)
    if path.is_file() and path.is_relative_to(DOCS) and path.suffix != ".py":
        in_site = path.relative_to(DOCS).as_posix()
    if in_site is None:
        return f"{repository}/{'tree' if path.is_dir() else 'blob'}/main/{in_repository}"
    return posixpath.relpath(in_site, posixpath.dirname(page) or ".")


def public_modules() -> list[str]:
    """Dotted names of the library's packages and modules, a package before what is in it."""
    names = []
    for path in sorted(LIBRARY.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            names.append(".".join(parts))
    return sorted(names, key=lambda name: name.split("."))


def page_of(name: str) -> str:
    """The reference page of a module; a package's is the first of its folder."""
    parts = name.split(".")
    is_package = (ROOT.joinpath(*parts) / "__init__.py").is_file()
    return "/".join(["reference", *parts, *(["index"] if is_package else [])]) + ".md"


def slicer_api() -> str:
    """The dotted name of the class that is the extension's Python API.

    Raises:
        LookupError: no file of the Slicer layer has it.
    """
    for path in sorted(SLICER_LAYER.rglob("*.py")):
        nodes: Iterable[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
        if any(isinstance(node, ast.ClassDef) and node.name == SLICER_API for node in nodes):
            return ".".join([*path.relative_to(SLICER_LAYER).with_suffix("").parts, SLICER_API])
    raise LookupError(f"no file of {SLICER_LAYER.name}/ has the class {SLICER_API}")


def _tree(names: list[str]) -> list[Any]:
    """The navigation of some modules: a list of pages, and of {package: list}."""
    top: list[Any] = []
    levels = {"": top}
    for name in names:
        page, (parent, _, own) = page_of(name), name.rpartition(".")
        level = levels.get(parent, top)
        if page.endswith("/index.md"):
            levels[name] = [page]
            if parent:
                level.append({own: levels[name]})
            else:
                top.extend(levels[name])
                levels[name] = top
        else:
            level.append({own: page})
    return top
