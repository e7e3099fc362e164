"""The command line: the only part that prints, colours and exits.

Results go to standard output, the story to standard error, one exit status per kind of end.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys

import click

from minify import __version__
from minify.cli import console
from minify.cli.analyze import analyze_command
from minify.cli.build import build_command, lock_command, trace_command, verify_command
from minify.cli.init import init_command
from minify.cli.inspect import doctor_command, gc_command, why_command
from minify.cli.interrupts import ends_run, leave
from minify.cli.settings import config_command
from minify.errors import EnterNamespaceError, Exit, MinifyError

EPILOG = "Exit status: 0 done, 2 usage, 3 verification failed, 4 unsupported here, 5 engine, \
6 not observable, 7 evidence incomplete, 8 cannot write, 9 a gate failed, 130 interrupted, 1 other."


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(__version__, prog_name="minify")
def cli() -> None:
    """Shrink a container image to what it uses, and prove that the result behaves the same.

    Start with: minify build IMAGE
    """


for _command in (
    build_command,
    trace_command,
    verify_command,
    lock_command,
    why_command,
    analyze_command,
    gc_command,
    doctor_command,
    config_command,
    init_command,
):
    cli.add_command(_command)


@cli.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the shell completion script, as in: eval "$(minify completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # click has these three
    click.echo(found(cli, {}, "minify", "_MINIFY_COMPLETE").source())


def main() -> None:
    """Run the command line and exit."""
    # What is made from here on are values that live to the end and form no circles.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    try:
        # A terminated minify cleans up as an interrupted one does.
        ends_run(signal.SIGTERM)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            ends_run(signal.SIGINT)
        status = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        status = _interrupted()
    except KeyboardInterrupt:
        status = _interrupted()
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except EnterNamespaceError:
        status = _enter_namespace()
    except MinifyError as error:
        console.show_error(error)
        status = int(error.exit_code)
    except BrokenPipeError:
        status = int(Exit.FAILED)
    except Exception as error:
        console.show_defect(error)
        status = int(Exit.FAILED)
    sys.exit(status if isinstance(status, int) else 0)


def _enter_namespace() -> int:
    """Start again as root of a user namespace, for the embedded engine."""
    from minify.engines.embedded_rootless import entering

    try:
        argv = [*entering(), sys.executable, "-m", "minify", *sys.argv[1:]]
    except MinifyError as error:
        console.show_error(error)
        return int(error.exit_code)
    os.execvp(argv[0], argv)
    raise AssertionError  # execvp(3) returns by raising only


def _interrupted() -> int:
    console.say("interrupted: nothing was tagged, everything was cleaned up")
    atexit._run_exitfuncs()  # temporary folders; what Python would do before is wait for threads
    leave(int(Exit.INTERRUPTED))
    return int(Exit.INTERRUPTED)
