"""``accelsim validate`` and ``accelsim schema``: whether files are right, and what an editor needs
to tell.

``validate`` prints a line on stdout for a valid file and one on stderr for any other (exit 2);
``schema`` prints JSON, or writes it to the file of ``-o``.
"""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.cli.common import output_option, pairs, params_option, write

KINDS = ("workload", "architecture", "dataflow", "mapping", "study")


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--kind", type=click.Choice(KINDS), help="What the files are; by their keys otherwise."
)
@params_option
def validate(files: tuple[str, ...], kind: str | None, params: tuple[str, ...]) -> int:
    """Say of each YAML file that it is valid and of what kind, or in one line what is wrong with it
    and where.
    """
    from accelsim.base.errors import InputError, one_line
    from accelsim.base.yaml_reading import read_yaml as read
    from accelsim.cli import file_kinds

    values = pairs(params, "--param")
    wrong = 0
    for file in files:
        try:
            source = read(file, kind or "")
            recognised = kind or file_kinds.recognise(source)
            model = file_kinds.load(source, recognised, None, values)
        except InputError as error:
            wrong = 2
            click.echo(str(error), err=True)
        else:
            name = getattr(model, "name", "") or Path(file).stem
            click.echo(one_line(f"{file}: valid {recognised} {name}"))
    return wrong


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@output_option
def schema(kind: str, output: Path | None) -> int:
    """Print the JSON Schema of a kind of file, for editors.

    An editor with the YAML language server completes and checks a file that begins with the comment
    `# yaml-language-server: $schema=FILE`, FILE being the schema's path from there.
    """
    import json

    from accelsim.cli import file_kinds

    write(json.dumps(file_kinds.schema(kind), indent=2), output)
    return 0
