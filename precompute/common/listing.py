"""All backbones as a table to read."""

from aad.backbones import BACKBONES, ENGINES, RELEASES, BackboneSpec, available, engines_for


def backbone_table() -> str:
    """One backbone in two lines: what it is and whether its weights are here, and where they come from; then the engines.

    Raises:
        BackboneError: $AAD_WEIGHTS is not a folder.
    """
    head = ("name", "features", "input", "licence", "here")
    rows = [
        (name, str(spec.dim), _input(spec), spec.licence, available(name) or "no") for name, spec in BACKBONES.items()
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [_line(head, widths)]
    for row in rows:
        lines += [_line(row, widths), f"    {_source(row[0])}"]
    here = engines_for("cpu")
    lines += [f"engines here: {', '.join(here)}"]
    if missing := [engine for engine in ENGINES if engine not in here]:
        lines += [f"after pip install -r requirements-fast.txt: {', '.join(missing)}"]
    return "\n".join(lines)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _input(spec: BackboneSpec) -> str:
    if spec.resize is None:
        how = "whole picture"
    else:
        how = f"short side {spec.resize}, centre"
    return f"{spec.image_size} px, {how}, {spec.interpolation}"


def _source(name: str) -> str:
    release = RELEASES[name]
    if not release.url.startswith("https://"):
        return BACKBONES[name].weights
    hub = f"hub {release.hub}, or " if release.hub else ""
    return f"{BACKBONES[name].weights}: {hub}{release.url}"
