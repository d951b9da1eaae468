"""Paths that comments, docstrings and Markdown name exist in the repository."""

import ast
import re
import subprocess
from fnmatch import filter as matching
from pathlib import PurePath

from lab import REPOSITORY

# Files that readers write, releases bring, and programs read elsewhere.
ELSEWHERE = re.compile(
    r"inventories/(mine|SITE)\b|(.*/)?(config\.json|CONFIG\.json|NAME\.md|sha256sums\.txt|web\.yml)$"
)


def prose(path, text):
    """Return the comments and docstrings of a file; all of a file that is Markdown."""
    if path.suffix == ".md":
        return text
    parts = re.findall(r"(?:^|\s)#\s.*|\{#.*", text, re.MULTILINE)
    if path.suffix == ".py":
        scopes = (ast.Module, ast.ClassDef, ast.FunctionDef)
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, scopes)]
        parts += [ast.get_docstring(node) or "" for node in nodes]
    return "\n".join(parts)


def test_every_path_that_prose_names_exists():
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    files = [PurePath(name) for name in listed.stdout.split("\0") if (REPOSITORY / name).is_file()]
    known = {path for file in files for path in (file, *file.parents)}
    # `rules/tests` may stand for `files/rules/tests`, and a file for its template.
    tails = {"/".join(path.parts[n:]) for path in known for n in range(len(path.parts))}
    names = tails | {re.sub(r"\.(j2|example)$", "", name) for name in tails}

    top = "|".join({re.escape(file.parts[0]) for file in files if len(file.parts) > 1})
    from_the_top = rf"(?:{top})/[\w./*<>-]+"
    file_name = r"[\w.-]+(?:/[\w.-]+)*\.(?:j2|json|md|py|sh|tmpl|toml|txt|ya?ml)(?![\w/*-])"
    mention = re.compile(rf"(?<![\w/.*<>$}}-])(?:{from_the_top}|{file_name})")

    missing = []
    for file in files:
        text = (REPOSITORY / file).read_text(errors="replace")
        for name in {match.rstrip("./") for match in mention.findall(prose(file, text))}:
            # `*` and `<role>` stand for any name.
            glob = re.sub(r"<.*?>", "*", re.sub(r"^(\.\./)+", "", name))
            exists = bool(matching(names, glob)) if "*" in glob else glob in names
            if not exists and not ELSEWHERE.match(name):
                missing.append(f"{file}: {name}")
    assert not missing, "\n".join(missing)
