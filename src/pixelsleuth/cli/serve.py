"""`pixelsleuth serve`: the HTTP API and the web page."""

from __future__ import annotations

from typing import Any

import click

from pixelsleuth.cli.options import (
    FiniteFloat,
    device_option,
    megapixels_option,
    needs,
    precision_option,
    trust_option,
)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port; 0 takes a free one, which the log names.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("auto",),
    show_default=True,
    metavar="NAME",
    help="Detector to load, see 'pixelsleuth models'. Repeatable; the first is the default.",
)
@device_option
@precision_option
@trust_option
@click.option(
    "--queue",
    type=click.IntRange(1, 10_000),
    default=16,
    show_default=True,
    help="Requests that are accepted and not answered; more get 429 with Retry-After before their "
    "body is read.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(1),
    default=25_000_000,
    show_default=True,
    help="Largest picture in bytes; larger ones get 413 before anything is decoded. A batch may have "
    "ten times that.",
)
@megapixels_option
@click.option(
    "--batch-size",
    type=click.IntRange(1, 1024),
    default=8,
    show_default=True,
    help="Pictures judged at once, where the model gains from that.",
)
@click.option(
    "--deadline",
    type=FiniteFloat(min=0.1),
    default=30.0,
    show_default=True,
    help="Seconds for which a picture may wait to be judged. What would probably wait longer than "
    "half of that gets 429 at once, what waits longer after all gets 503.",
)
@click.option(
    "--grace",
    type=FiniteFloat(min=0),
    default=20.0,
    show_default=True,
    help="Seconds for answering what was accepted, after SIGTERM.",
)
@click.option(
    "--keep",
    type=FiniteFloat(min=0),
    default=15.0,
    show_default=True,
    help="Minutes for which verdicts are kept in memory for their report and pictures; 0: none.",
)
@click.option(
    "--jobs",
    metavar="DIR",
    help="Folder of background jobs. Default: 'jobs' in the folder of fetched weights.",
)
@click.option("--no-jobs", is_flag=True, help="Take no background jobs: write no picture to the disk.")
@click.option(
    "--keep-jobs",
    type=FiniteFloat(min=0),
    default=24.0,
    show_default=True,
    help="Hours for which the results of a finished job are kept.",
)
@click.option(
    "--max-job-bytes",
    type=click.IntRange(1),
    default=2_000_000_000,
    show_default=True,
    help="Bytes of all pictures of one job.",
)
@click.option(
    "--webhook-host",
    "webhook_hosts",
    multiple=True,
    metavar="HOST",
    help="Host, or HOST:PORT, that a finished job may be reported to. Repeatable.",
)
@click.option(
    "--api-key-file",
    metavar="FILE",
    help="Answer /v1 and /metrics only with 'Authorization: Bearer KEY'. FILE: one key a line, at "
    "least 16 letters.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="Host name that requests may be addressed to. Repeatable. Default: loopback names; any with "
    "another --host.",
)
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of this origin, such as https://example.org, use the API. Repeatable.",
)
@click.option(
    "--allow-fetch",
    is_flag=True,
    help="Let requests name a picture by its address on the public web; see docs/background/serving.md.",
)
@click.option(
    "--feedback",
    metavar="FILE",
    help="Take notes on wrong verdicts and append them to FILE, one JSON line each: hash, verdict, note.",
)
@click.option("--log-names", is_flag=True, help="Let the log name the pictures.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes; each loads the models and keeps its own queue and verdicts.",
)
@click.option(
    "--decoders",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    help="Processes that decode pictures; 0: one a core, at most 4.",
)
@click.option(
    "--decode-seconds",
    type=FiniteFloat(min=0.1),
    default=20.0,
    show_default=True,
    help="Time for decoding one picture; what takes longer is refused with 422.",
)
@click.option(
    "--root-path", default="", metavar="PREFIX", help="Path under which a proxy serves this, such as /sleuth."
)
@click.pass_context
def serve(ctx: click.Context, /, no_jobs: bool, **options: Any) -> None:
    """Serve an HTTP API and a web page, offline, with the verdicts of 'check'.

    \b
    curl -F file=@photo.jpg http://127.0.0.1:8000/v1/check
    """
    with needs("serve"):
        from pixelsleuth.serving.guard import keys_in
        from pixelsleuth.serving.running import run_serve
        from pixelsleuth.serving.workers import run_workers
    from pixelsleuth.models.store import home
    from pixelsleuth.serving.settings import ServeOptions

    options["jobs"] = None if no_jobs else options["jobs"] or str(home() / "jobs")
    settings = ServeOptions(**options)
    if settings.api_key_file is not None:
        keys_in(settings.api_key_file)  # refused here: a service without keys would answer no request
    ctx.exit(run_serve(settings) if settings.workers == 1 else run_workers(settings))
