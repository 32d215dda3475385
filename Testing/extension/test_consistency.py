"""What is said in several places is the same in all of them, and the files are where Slicer looks for them."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from catalogue_entry import (
    JSON_PROPERTIES,
    JSON_REQUIRED,
    NAME,
    S4EXT_FIELDS,
    SCHEMA,
    cmake_metadata,
    cmake_project,
    cmake_text,
    json_entry,
    s4ext_fields,
)
from packaged_files import MODULES, RESOURCES, ROOT, SCRIPTS, lists_of_cmake, lists_of_tree, unknown_files, with_lists

UPDATE = "python Testing/extension/update_cmake_lists.py"
RAW = "https://raw.githubusercontent.com/"
GITHUB = "https://github.com/"
# Fields of the s4ext that CMake finds out by itself, or that keep Slicer's default there.
S4EXT_ONLY = {
    *("scm", "scmurl", "scmrevision", "recommends", "build_subdirectory"),
    *("enabled", "dicom_support_rule"),
}


@pytest.fixture(scope="module")
def cmake() -> dict[str, str]:
    """CMake's metadata; a variable that is set twice, or not as one literal, fails the tests below."""
    return {name: values[-1] for name, values in cmake_metadata(cmake_text()).items()}


@pytest.fixture(scope="module")
def s4ext() -> dict[str, str]:
    return dict(s4ext_fields())


@pytest.fixture(scope="module")
def entry() -> dict[str, object]:
    return json_entry()


def png_size(path: Path) -> tuple[int, int]:
    """Width and height, from the file's head."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", f"{path} is not a PNG"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


# --- the lists of files ---


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("name", [SCRIPTS, RESOURCES])
def test_cmake_packages_exactly_the_files_of_the_tree(module: str, name: str) -> None:
    listed = lists_of_cmake((ROOT / module / "CMakeLists.txt").read_text(encoding="utf-8"))[name]
    assert listed == lists_of_tree(module)[name], f"run {UPDATE}"


@pytest.mark.parametrize("module", MODULES)
def test_every_other_file_is_known_to_be_left_out(module: str) -> None:
    assert unknown_files(module) == [], "say in packaged_files.py what these are"


def test_lists_are_read_back_as_they_were_written() -> None:
    lists = {SCRIPTS: ["a.py", "b/c.py"], RESOURCES: []}
    text = f"set({SCRIPTS}\n  x.py\n  )\n\nset({RESOURCES}\n  x.png\n  )\nslicerMacroBuildScriptedModule(NAME X)\n"
    rewritten = with_lists(text, lists)
    assert lists_of_cmake(rewritten) == lists
    assert with_lists(rewritten, lists_of_cmake(text)) == text


def test_slicer_finds_one_python_file_in_the_module_folder_and_none_at_the_root() -> None:
    assert [path.name for path in (ROOT / NAME).glob("*.py")] == [f"{NAME}.py"]
    assert [path.name for path in ROOT.glob("*.py")] == []


# --- the metadata ---


def test_the_project_and_the_files_have_the_extensions_name() -> None:
    assert cmake_project(cmake_text()) == NAME
    assert [path.name for path in ROOT.glob("*.s4ext")] == [f"{NAME}.s4ext"]
    assert [path.name for path in (ROOT / "Resources").glob("*.json")] == [f"{NAME}.json"]


def test_the_index_can_read_each_variable_as_one_quoted_literal() -> None:
    found = cmake_metadata(cmake_text())
    set_at_all = re.findall(r"^\s*set\s*\(\s*EXTENSION_(\w+)", cmake_text(), re.MULTILINE)
    assert sorted(found) == sorted(name.lower() for name in set_at_all)
    assert {name: values for name, values in found.items() if len(values) > 1} == {}


def test_s4ext_has_its_17_fields_once_each() -> None:
    assert sorted(keyword for keyword, _ in s4ext_fields()) == sorted(S4EXT_FIELDS)


def test_the_json_entry_keeps_to_the_schema(entry: dict[str, object]) -> None:
    assert set(entry) <= set(JSON_PROPERTIES)
    assert set(entry) >= JSON_REQUIRED
    wrong = {name: value for name, value in entry.items() if type(value) is not JSON_PROPERTIES[name]}
    assert wrong == {}
    assert entry["$schema"] == SCHEMA
    assert entry.get("scm_type", "git") in ("git", "local")
    assert entry.get("tier", 1) in range(1, 6)


def test_the_json_entry_has_the_line_ends_that_the_index_accepts() -> None:
    content = (ROOT / "Resources" / f"{NAME}.json").read_bytes()
    assert b"\r" not in content and content.endswith(b"}\n")
    assert json.dumps(json_entry(), indent=2) + "\n" == content.decode()


@pytest.mark.parametrize("name", sorted(set(S4EXT_FIELDS) - S4EXT_ONLY))
def test_cmake_and_s4ext_agree(name: str, cmake: dict[str, str], s4ext: dict[str, str]) -> None:
    assert cmake[name] == s4ext[name] != ""


@pytest.mark.parametrize(
    "property_name, field",
    {
        "category": "category",
        "scm_url": "scmurl",
        "scm_revision": "scmrevision",
        "scm_type": "scm",
        "build_subdirectory": "build_subdirectory",
    }.items(),
)
def test_json_and_s4ext_agree(property_name: str, field: str, entry: dict[str, object], s4ext: dict[str, str]) -> None:
    assert entry[property_name] == s4ext[field] != ""


def test_json_and_s4ext_agree_on_numbers_and_dependencies(entry: dict[str, object], s4ext: dict[str, str]) -> None:
    assert entry["build_dependencies"] == s4ext["depends"].split() == ["PyTorch"]
    assert str(entry["tier"]) == s4ext["tier"]
    assert str(int(bool(entry["enabled"]))) == s4ext["enabled"]


def test_the_description_is_one_line_that_cmake_keeps_whole(cmake: dict[str, str]) -> None:
    assert set(cmake["description"]).isdisjoint(";\\$\n\t")
    assert 1 <= cmake["description"].count(". ") + 1 <= 2


def test_all_addresses_are_of_one_repository_and_name_files_that_are_here(
    cmake: dict[str, str], entry: dict[str, object]
) -> None:
    repository = cmake["homepage"].removeprefix(GITHUB)
    assert entry["scm_url"] == f"{GITHUB}{repository}.git"
    beginning = f"{RAW}{repository}/{entry['scm_revision']}/"
    addresses = [cmake["iconurl"], *cmake["screenshoturls"].split()]
    assert [address for address in addresses if not address.startswith(beginning)] == []
    missing = [address for address in addresses if not (ROOT / address.removeprefix(beginning)).is_file()]
    assert missing == []


# --- pictures, licence, version ---


@pytest.mark.parametrize("icon", ["Resources/SAMMed2D.png", "SAMMed2D/Resources/Icons/SAMMed2D.png"])
def test_icons_of_extension_and_module_have_the_size_that_slicer_wants(icon: str) -> None:
    assert png_size(ROOT / icon) == (128, 128)


def test_all_icons_are_square() -> None:
    sizes = {icon.relative_to(ROOT).as_posix(): png_size(icon) for icon in (ROOT / NAME).rglob("Icons/*.png")}
    assert {icon: size for icon, size in sizes.items() if size[0] != size[1]} == {}


def test_the_icons_are_those_that_the_script_draws() -> None:
    command = [sys.executable, str(ROOT / "Testing" / "pictures" / "draw_icons.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_licence_lies_at_the_root_and_the_readme_names_it() -> None:
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "Apache License" in licence and "Version 2.0" in licence
    assert "[Apache License 2.0](LICENSE)" in readme


def test_the_librarys_version_is_the_changelogs_newest() -> None:
    library = (ROOT / "SAMMed2DLib" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.+)"$', library, re.MULTILINE)
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert version and newest
    assert version.group(1) == newest.group(1)


def test_the_oldest_pytorch_is_the_same_wherever_it_is_named() -> None:
    requirements = (ROOT / NAME / "Resources" / "requirements.txt").read_text(encoding="utf-8")
    (wanted,) = re.findall(r"^torch>=(\S+)$", requirements, re.MULTILINE)
    doctor = (ROOT / "SAMMed2DLib" / "doctor.py").read_text(encoding="utf-8")
    assert f'"torch>={wanted}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"OLDEST_TORCH = ({wanted.replace('.', ', ')})" in doctor
    named = re.findall(r"torch>=([\d.]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert set(named) <= {wanted}


def test_slicer_is_asked_for_no_package_but_pytorch_which_is_optional() -> None:
    lines = (ROOT / NAME / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == ["torch>=2.1.2"]
    assert any("Optional" in line for line in lines)


# --- what the Extensions Index checks of an entry, as far as it needs no network ---


def test_the_index_accepts_address_and_name_of_the_repository(entry: dict[str, object]) -> None:
    address = urlsplit(str(entry["scm_url"]))
    assert address.scheme in ("git", "https") and address.netloc
    assert "slicer" in Path(address.path).stem.lower()


def test_the_index_knows_the_category(entry: dict[str, object]) -> None:
    assert entry["category"] == "Segmentation"


@pytest.mark.parametrize("variable", ["iconurl", "screenshoturls"])
def test_the_index_finds_pictures_behind_the_addresses(
    cmake: dict[str, str], entry: dict[str, object], variable: str
) -> None:
    beginning = f"{RAW}{cmake['homepage'].removeprefix(GITHUB)}/{entry['scm_revision']}/"
    for address in cmake[variable].split():
        path = ROOT / address.removeprefix(beginning)
        assert address.startswith("https://") and path.suffix == ".png" and min(png_size(path)) >= 128


def test_the_index_finds_the_licence(cmake: dict[str, str]) -> None:
    named = [name for name in ("LICENSE", "LICENSE.txt", "COPYING") if (ROOT / name).is_file()]
    assert named == ["LICENSE"]


def test_cmake_asks_for_slicer_before_it_uses_it() -> None:
    order = [cmake_text().index(part) for part in ("project(", "find_package(Slicer", "include(${Slicer_USE_FILE})")]
    assert order == sorted(order)


def test_the_readme_begins_with_contributors_publication_licence_and_versions(cmake: dict[str, str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    head = dict(re.findall(r"^\| (\w+) \| (.+) \|$", readme.partition("## Modules")[0], re.MULTILINE))
    assert list(head) == ["Contributors", "Publication", "Licence", "Versions"]
    assert head["Contributors"].startswith(f"{cmake['contributors']} ([who]({cmake['homepage']}/graphs/contributors))")
    publications = readme.partition("## Publication and citation\n")[2].partition("\n\n")[0].splitlines()
    assert [line for line in publications if "](https://" not in line] == [] and len(publications) >= 2
    assert re.search(r"\]\(https://\S+\)", head["Publication"])[0] in publications[0]


def test_versions_are_named_in_one_place_of_the_readme_as_the_files_say_them() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (versions,) = re.findall(r"^\| Versions \| (.+) \|$", readme, re.MULTILINE)
    package = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    requirements = (ROOT / NAME / "Resources" / "requirements.txt").read_text(encoding="utf-8")
    python = re.search(r'^requires-python = ">=(\S+)"$', package, re.MULTILINE)
    torch = re.search(r"^torch>=(\S+)$", requirements, re.MULTILINE)
    assert python and f"Python {python[1]} or newer" in versions
    assert torch and f"PyTorch {torch[1]} or newer" in versions
    scenario = (ROOT / "Testing" / "desktop" / "scenario.py").read_text(encoding="utf-8")
    slicer = re.search(r"in any Slicer from (\S+) on", scenario)
    assert slicer and f"3D Slicer {slicer[1]} or newer" in versions
    assert len(re.findall(r"\d+ or newer", readme)) == 3  # and nowhere else


def test_a_clone_is_small() -> None:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.split(b"\0")
    sizes = [(ROOT / name.decode()).stat().st_size for name in files if name and (ROOT / name.decode()).is_file()]
    assert sum(sizes) < 100e6


def test_the_citation_names_the_same_version_and_repository(cmake: dict[str, str]) -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    library = (ROOT / "SAMMed2DLib" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r"^version: (\S+)$", citation, re.MULTILINE)
    assert version and f'\n__version__ = "{version.group(1)}"\n' in library
    assert f'\nrepository-code: "{cmake["homepage"]}"\n' in citation


def test_contributing_tells_of_each_folder_and_of_none_that_is_not_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([\w/]+)/`", "\n".join(line for line in text.splitlines() if line.startswith("| "))))
    parents = [ROOT, *(ROOT / name for name in (*MODULES, f"{NAME}/{NAME}Slicer", "Testing"))]
    assert {name for name in told if not any((parent / name).is_dir() for parent in parents)} == set()
    there = {file.parent.name for parent in parents[1:] for file in parent.glob("*/*.py")}
    parts = {part for name in told for part in name.split("/")}
    assert there - parts == set(), "say in CONTRIBUTING.md what is in there"
