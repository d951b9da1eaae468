"""Draws the state of a job as a badge, for a README or a wiki."""

from __future__ import annotations

import json
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from batch_job.gateway import Gateway, GatewayError
from batch_job.pushgateway import PUSH_TIMEOUT_SECONDS, request
from batch_job.states import SILVER, STATES, State

UNKNOWN = State("not watched", SILVER, "Prometheus knows no such job")
MAX_RESPONSE_BYTES = 1 << 20
# Of Verdana at 11 pixels, as badges are drawn everywhere; `textLength` makes it fit.
CHARACTER_PIXELS, PADDING_PIXELS = 7, 6
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{title}">
<title>{title}</title>
<rect width="{label_width}" height="20" fill="#444"/>
<rect x="{label_width}" width="{state_width}" height="20" fill="{color}"/>
<g font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{label_middle}" y="14" textLength="{label_length}" fill="#fff">{label}</text>
<text x="{state_middle}" y="14" textLength="{state_length}" fill="{ink}">{state}</text>
</g>
</svg>
"""


def state_of(prometheus: Gateway, job: str, instance: str) -> State:
    """Return the state of a job as the rules of a Prometheus know it. Raises GatewayError.

    https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
    """
    expression = f"batch_job:state{{job={json.dumps(job)},instance={json.dumps(instance)}}}"
    url = f"{prometheus.url.rstrip('/')}/api/v1/query?{urlencode({'query': expression})}"
    _status, content = request(
        prometheus, url, "GET", PUSH_TIMEOUT_SECONDS, [], None, MAX_RESPONSE_BYTES
    )
    try:
        result = json.loads(content)["data"]["result"]
        return STATES[int(float(result[0]["value"][1]))] if result else UNKNOWN
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise GatewayError(f"{prometheus.url} does not answer as a Prometheus does") from error


def endpoint(job: str, state: State) -> str:
    """Return what shields.io draws: https://shields.io/badges/endpoint-badge."""
    content = {
        "schemaVersion": 1,
        "label": job,
        "message": state.name,
        "color": state.color,
    }
    return json.dumps(content)


def svg(job: str, state: State) -> str:
    """Return a picture that needs nobody else."""
    lengths = [len(text) * CHARACTER_PIXELS for text in (job, state.name)]
    label_width, state_width = (length + 2 * PADDING_PIXELS for length in lengths)
    return SVG.format(
        width=label_width + state_width,
        label_width=label_width,
        state_width=state_width,
        label_middle=label_width / 2,
        state_middle=label_width + state_width / 2,
        label_length=lengths[0],
        state_length=lengths[1],
        title=escape(f"{job}: {state.name}", {'"': "&quot;"}),
        label=escape(job),
        state=escape(state.name),
        color=state.color,
        ink="#fff" if _luminance(state.color) < 0.4 else "#000",
    )


def _luminance(color: str) -> float:
    """Return how bright a colour is, 0 to 1, roughly as WCAG 2 has it."""
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return float(0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2)
