import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from deblur_cli.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_readme_names_every_option_of_the_default_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = get_command(app)
    for parameter in command.commands["run"].params:
        if parameter.param_type_name == "option":
            assert any(f"`{name}" in readme or f", {name}" in readme for name in parameter.opts), (
                parameter.opts
            )


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in get_command(app).commands:
        assert name == "run" or f"deblur {name}" in readme


def test_decisions_are_numbered_once() -> None:
    numbers = [path.name[:4] for path in (ROOT / "docs/decisions").glob("*.md")]
    assert len(numbers) == len(set(numbers))


HEADINGS = {
    "Install": "安装",
    "Use": "使用",
    "In the browser": "在浏览器中",
    "What comes back": "返回的照片",
    "What it cannot do": "它做不到的事",
    "Weights and licences": "权重与许可证",
    "Platforms": "平台",
    "More": "更多",
}
"""Of the README, and in Chinese: a new one is added here too."""


def outline(page: str) -> list[str]:
    """The headings below the first, in English as far as they are known."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    english = {chinese: english for english, chinese in HEADINGS.items()}
    return [english.get(heading, heading) for heading in re.findall(r"^##+ (.*)$", text, re.MULTILINE)]


def commands(page: str) -> list[str]:
    """The lines of code, without their comments."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [
        line for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]
    lines += re.findall(r"^    (?=\S)(.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return [line for line in (re.sub(r"\s+# .*", "", line) for line in lines) if line]


def spans(page: str) -> list[str]:
    """What stands in backticks: options, commands, names, files."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def links(page: str) -> list[str]:
    """Where links and pictures lead, without those from one README to the other."""
    targets = re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    return [target for target in targets if not target.startswith("README")]


@pytest.mark.parametrize("part", [outline, commands, spans, links], ids=lambda part: part.__name__)
def test_the_chinese_readme_has_all_that_the_english_one_has(part: Callable[[str], list[str]]) -> None:
    english, chinese = Counter(part("README.md")), Counter(part("README.zh.md"))
    assert not english - chinese, f"README.zh.md lacks {list(english - chinese)}"
    assert not chinese - english, f"README.zh.md has, and README.md has not, {list(chinese - english)}"


def test_the_chinese_readme_has_its_sections_in_the_same_order() -> None:
    assert outline("README.zh.md") == outline("README.md") == list(HEADINGS)


def test_the_readmes_lead_to_each_other() -> None:
    for page, other in (("README.md", "README.zh.md"), ("README.zh.md", "README.md")):
        assert f"]({other})" in (ROOT / page).read_text(encoding="utf-8")
