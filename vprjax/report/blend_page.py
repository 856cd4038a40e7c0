"""The blend on the page: which parameters the fine-tuned model has, and the curve that chose them."""

from vprjax.evaluation import blend
from vprjax.report.pictures import BLUE, GREEN, INK, ORANGE, Picture, new_figure, picture


def section(found: dict | None) -> dict | None:
    """The template's fields from `provenance["blend"]`; None where the model is no blend.

    Call it inside `pictures.style()`.
    """
    if not found:
        return None
    own = blend.of_json(found)
    return {"words": f"{own.words()}.", "curves": [curve(own)] if own.curve else []}


def curve(own: blend.Blend) -> Picture:
    """Mean FCM over the share of the fine-tuned parameters, and the share that was chosen."""
    shares = [point.share for point in own.curve]
    lines = {"validation": ([point.home for point in own.curve], BLUE)}
    if own.keep:
        lines[own.keep] = ([point.keep for point in own.curve], ORANGE)
        lines["mean of both"] = ([point.score for point in own.curve], GREEN)
    figure = new_figure(5.2, 3.0)
    axis = figure.subplots()
    for name, (values, colour) in lines.items():
        axis.plot(shares, values, color=colour, marker=".", label=name)
    axis.axvline(own.share, color=INK, lw=1, ls="--", label="chosen")
    axis.set(
        xlabel="share of the fine-tuned parameters",
        ylabel="FCM (%), mean over tolerances",
        title="choice of the blend",
    )
    figure.legend(loc="outside lower center", ncols=2)
    best = next(point for point in own.curve if point.share == own.share)
    parts = [f"{best.home:.1f} % on validation"]
    parts += [f"{best.keep:.1f} % on {own.keep}"] if own.keep else []
    return picture(
        figure,
        f"FCM over the share of the fine-tuned parameters; chosen is {own.share:g}: {', '.join(parts)}",
    )
