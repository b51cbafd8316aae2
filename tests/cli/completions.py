"""Types a line and a tab into a shell, and waits until the shell shows how it completes the line.

completions.py SHELL PROGRAM LINE EXPECTED
"""

import os
import pty
import select
import sys
import time

shell, program, line, expected = sys.argv[1:]
commands = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
setup = {
    "bash": "source <(%s completions bash)",
    "zsh": "autoload -U compinit; compinit -u -D; source <(%s completions zsh)",
    "fish": "%s completions fish | source",
}
child, terminal = pty.fork()
if child == 0:
    os.environ.update(TERM="xterm", PATH=os.path.dirname(program) + ":" + os.environ["PATH"])
    os.execvp(shell, commands[shell])


def wait(text, seconds=20):
    """Reads what the shell shows until the text is there."""
    shown = ""
    end = time.monotonic() + seconds
    while text not in shown:
        if not select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
            sys.exit(f"{text!r} is not shown, but {shown!r}")
        shown += os.read(terminal, 65536).decode(errors="replace")


os.write(terminal, (setup[shell] % program + "; echo re''ady\r").encode())
wait("ready")
time.sleep(0.3)
os.write(terminal, (line + "\t").encode())
wait(expected)
os.close(terminal)
os.waitpid(child, 0)
