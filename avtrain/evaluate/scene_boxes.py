"""Boxes at the strikes of synthesized scenes."""

from avdata import ClipTruth, ObjectTruth
from avtrain.evaluate.boxes import Box, Moment

SAME_MOMENT_S = 0.1
"""Strikes of several objects so close together are one moment."""


def scene_moments(scene: ClipTruth) -> tuple[Moment, ...]:
    """One moment for each strike of an object that is seen, in order of time.

    Its boxes are around all objects that strike then. Objects that never sound are its silent ones.
    """
    strikes = sorted(
        (strike.time_s, index)
        for index, thing in enumerate(scene.objects)
        if not thing.off_screen
        for strike in thing.strikes
    )
    moments: list[Moment] = []
    silent = [thing for thing in scene.objects if thing.silent and not thing.off_screen]
    at = 0
    while at < len(strikes):
        first_s = strikes[at][0]
        group = [strike for strike in strikes[at:] if strike[0] < first_s + SAME_MOMENT_S]
        at += len(group)
        time_s = sum(time for time, _ in group) / len(group)
        struck = [scene.objects[index] for index in dict.fromkeys(index for _, index in group)]
        sounding = [box for thing in struck if (box := box_at(scene, thing, time_s)) is not None]
        if sounding:
            around = (box_at(scene, thing, time_s) for thing in silent)
            moments.append(
                Moment(
                    time_s=time_s,
                    sounding=tuple(sounding),
                    silent=tuple(box for box in around if box is not None),
                )
            )
    return tuple(moments)


def box_at(scene: ClipTruth, thing: ObjectTruth, time_s: float) -> Box | None:
    """The box around an object in the frame that is shown at a moment; None outside the picture."""
    track = thing.track
    if not track.x_px:
        return None
    frame = min(max(int(time_s * scene.fps + 1e-6), 0), len(track.x_px) - 1)
    x, y, radius = track.x_px[frame], track.y_px[frame], track.radius_px[frame]
    x0, x1 = (min(max((x + sign * radius) / scene.width_px, 0.0), 1.0) for sign in (-1, 1))
    y0, y1 = (min(max((y + sign * radius) / scene.height_px, 0.0), 1.0) for sign in (-1, 1))
    if x0 >= x1 or y0 >= y1:
        return None
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)
