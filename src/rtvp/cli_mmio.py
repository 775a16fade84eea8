"""``rtvp mmio``: the benchmark builder on the command line."""

from __future__ import annotations

import typer

from rtvp.cli_mmio_build import build_command, leaks_command, pack_command, stats_command
from rtvp.cli_mmio_labels import check_command, convert_command, export_command, sources_command

mmio_app = typer.Typer(
    help="The benchmark: public defect sets, converted, cleaned, matched, split and measured.",
    no_args_is_help=True,
)
mmio_app.command("sources")(sources_command)
mmio_app.command("convert")(convert_command)
mmio_app.command("export")(export_command)
mmio_app.command("check")(check_command)
mmio_app.command("build")(build_command)
mmio_app.command("leaks")(leaks_command)
mmio_app.command("stats")(stats_command)
mmio_app.command("pack")(pack_command)
