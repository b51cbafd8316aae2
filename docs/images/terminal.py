"""Draws what a terminal shows as a picture for a page: terminal.py <SHOWN >PICTURE.svg

SHOWN is a block of a page with the colours that its commands have under CLICOLOR_FORCE=1. Needs `rich` (of pip).
Without colours it goes into the picture as its description, by which tests/docs sees whether the picture is current.
"""

import html
import io
import sys

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

# Without a window's frame, and without rich's fonts, which are on another host.
FORMAT = """<svg class="rich-terminal" viewBox="0 0 {terminal_width} {terminal_height}"
    xmlns="http://www.w3.org/2000/svg"><desc>DESCRIPTION</desc>
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: {line_height}px }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
<rect fill="#0c0c0c" width="{terminal_width}" height="{terminal_height}" rx="8"/>
<g transform="translate(12, 4)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g>
</svg>
"""

shown = Text.from_ansi(sys.stdin.read())
width = max(line.cell_len for line in shown.split("\n")) + 2
console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="standard")
console.print(shown, soft_wrap=True)
picture = console.export_svg(code_format=FORMAT, theme=MONOKAI, unique_id="terminal")
description = html.escape(shown.plain.rstrip("\n") + "\n", quote=False)
sys.stdout.write(picture.replace("DESCRIPTION", description))
