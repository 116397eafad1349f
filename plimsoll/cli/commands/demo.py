"""``plimsoll demo``."""

from __future__ import annotations

import os
import sys
from datetime import date
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from plimsoll import clock, codec
from plimsoll.cli.demo.ledger import WAYS, Ledger, compare
from plimsoll.cli.demo.live import Year, bar
from plimsoll.cli.demo.stage import AUTHOR, Stage
from plimsoll.cli.demo.story import Making, Narrator, Plot, first_model, released_before
from plimsoll.data.project import load_object
from plimsoll.errors import Conflict, InvalidInput
from plimsoll.records.model import Version
from plimsoll.sdk.models import load


def demo(
    *,
    folder: Path = Path(".plimsoll-demo"),
    first: str = "2013-01-01",
    start: str = "2013-05-01",
    end: str = "2014-01-01",
    seed: int = 0,
    share: float = 1.0,
) -> None:
    """Watch one model go all the way round on the real flights of 2013, against a real server; takes some minutes.

    Args:
        folder: keeps everything, to be looked at afterwards; a demo that was ended goes on there.
        first: first day of training.
        start: day on which training data ends and live traffic begins.
        end: day on which live traffic ends.
        seed: of the estimator and of the choice of requests.
        share: share of the requests that are made, above 0 and up to 1.

    Raises:
        InvalidInput: the days are no days of 2013 in this order, or the share is none.
        Conflict: the folder holds a demo with other options, or another demo runs there.
    """
    plot = _plot(first, start, end, seed, share)
    stage = Stage(folder)
    goes_on = stage.prepare()
    _check_plot(stage, plot)
    narrator = Narrator(Console(soft_wrap=False, width=None if sys.stdout.isatty() else 160))
    narrator.chapter("Plimsoll's demo: late arrivals out of New York, 2013")
    narrator.say(f"Goal: {stage.purpose().goal}")
    narrator.say(f"{'Going on' if goes_on else 'Everything stays'} in {stage.folder}", "dim")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        stage.open()
        narrator.say(f"A server answers at {stage.url}; {AUTHOR} and omar are its people.")
        making = Making(stage, narrator)
        version = released_before(making) or first_model(making, plot)
        narrator.chapter(f"Live traffic from {start}, in the order of the clock; a label comes when its plane has landed")
        ledger = Ledger(stage.folder / "answers")
        progress = bar(narrator)
        year = Year(making, plot, ledger, progress)
        with progress:
            year.run()
        year.settle()
        tally = year.callers.tally
        narrator.say(f"Callers got {tally.answered} answers; failed requests: {sum(tally.failed.values())}; sent again: {tally.repeated}.")
        _end(stage, narrator, ledger, version)
    finally:
        stage.close()


def _plot(first: str, start: str, end: str, seed: int, share: float) -> Plot:
    """Check the story's options before anything is made for them."""
    days = {"--first": first, "--start": start, "--end": end}
    earlier = date(2012, 12, 31)
    for flag, text in days.items():
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            raise InvalidInput(f"{flag} {text!r} is no day.", "Write it as YYYY-MM-DD.") from error
        if not earlier < day <= date(2014, 1, 1):
            raise InvalidInput(
                f"{flag} {text} is not after {earlier} and up to 2014-01-01.", "Give days of 2013 with --first before --start before --end."
            )
        days[flag], earlier = day.isoformat(), day
    if not 0 < share <= 1:
        raise InvalidInput(f"--share {share} is no share.", "Give a number above 0 and up to 1.")
    return Plot(first=days["--first"], start=days["--start"], end=days["--end"], seed=seed, share=share)


def _check_plot(stage: Stage, plot: Plot) -> None:
    """An earlier demo goes on only with the same plot; another one would mix two stories."""
    path = stage.folder / "plot.json"
    if not path.exists():
        # Appears whole: half a plot would keep every later demo away.
        unfinished = path.with_suffix(f".{clock.new_id()}")
        unfinished.write_bytes(codec.to_json(plot))
        unfinished.replace(path)
    elif codec.from_json(path.read_bytes(), Plot, str(path)) != plot:
        raise Conflict(f"{stage.folder} holds a demo with other options.", "Give another --folder, or remove it.")


def _end(stage: Stage, narrator: Narrator, ledger: Ledger, version: Version) -> None:
    rows = ledger.all()
    purpose = stage.purpose()
    never = load(version.digest, door=stage.people[AUTHOR].door).predict(rows)
    rule = load_object(stage.project, purpose.baseline)(rows)
    ways = {WAYS[0]: pl.Series(rule).cast(pl.Float64), WAYS[1]: pl.Series(never), WAYS[2]: rows["loop"]}
    rows = rows.with_columns(month=pl.col("asked").dt.strftime("%Y-%m"), **{name: values for name, values in ways.items()})
    table = Table(title=f"The same {rows.height:,} flights, three ways ({purpose.costs.currency} per flight; less is better)")
    for head in ("month", "flights", "late"):
        table.add_column(head, justify="right")
    for way in WAYS:
        table.add_column(f"{way}\nAUC", justify="right")
        table.add_column(f"\n{purpose.costs.currency}", justify="right")
    lines = compare(rows, purpose.costs)
    for line in lines:
        cells = [
            f"{line[way][number]:.3f}" if number == "auc" else f"{line[way][number]:.2f}" for way in WAYS for number in ("auc", "money")
        ]
        table.add_row(
            line["month"], f"{line['flights']:,}", f"{line['late']:.0%}", *cells, style="bold" if line["month"] == "all" else None
        )
    narrator.chapter("What it was worth")
    narrator.console.print(table)
    total = lines[-1]
    saved = (total[WAYS[0]]["money"] - total[WAYS[2]]["money"]) * rows.height
    more = (total[WAYS[1]]["money"] - total[WAYS[2]]["money"]) * rows.height
    narrator.say(
        f"The loop saved {purpose.costs.currency} {saved:,.0f} over the manual rule and {more:,.0f} over never retraining.", "bold"
    )
    narrator.chapter("Look into it")
    sample = rows.filter(pl.col("version") != "").row(-1, named=True)["request_id"]
    shown = stage.project.relative_to(Path.cwd()) if stage.project.is_relative_to(Path.cwd()) else stage.project
    for command in (
        f"cd {shown}",
        "plimsoll models show flights@production",
        f"plimsoll predictions why {sample}",
        "plimsoll releases list",
        "plimsoll alerts list",
        "plimsoll events verify",
        "plimsoll up",
    ):
        narrator.console.print(f"  {command}", highlight=False, markup=False)
