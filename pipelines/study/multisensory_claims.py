"""What is claimed of the multisensory network, and by which runs and numbers it is checked.

Numbers are those of `avtrain eval --json`, as TASK/NAME, and what they are by chance, as
TASK/NAME|chance.
"""

from claim_table import Claims, Comparison, Threshold

OWENS = "Owens & Efros"
GOAL = "goal"
"""Of this project, for its own scenes."""

CLAIMS: Claims = (
    Threshold(
        part="a",
        claim="sync is told from shifted sound, of held-out scenes",
        paper=GOAL,
        run="sync",
        measure="sync/accuracy",
        above=0.9,
    ),
    Threshold(
        part="a",
        claim="nothing but sync is gone by: unrelated sound has no sync to be told",
        paper=OWENS,
        run="sync",
        measure="sync/accuracy",
        above="sync/unrelated/accuracy",
        against="with unrelated sound",
    ),
    Threshold(
        part="a",
        claim="the map's peak lies on the object that strikes",
        paper=GOAL,
        run="sync",
        measure="localization/pointing",
        above=0.8,
    ),
    Threshold(
        part="a",
        claim="a mover that is silent is not pointed at",
        paper=OWENS,
        run="sync",
        measure="localization/pointing/silent|chance",
        above="localization/pointing/silent",
        against="seen, chance before it",
    ),
    Threshold(
        part="b",
        claim="sync of speech, of held-out sentences (GRID)",
        paper=OWENS,
        run="speech-sync",
        measure="sync/accuracy",
        above="sync/accuracy|chance",
    ),
    Threshold(
        part="c",
        claim="what is seen is separated: SDR over the mixture",
        paper=GOAL,
        run="on-off",
        measure="separation/on/sdr_gain_db",
        above=5.0,
    ),
    Threshold(
        part="c",
        claim="the picture tells which sound is on screen",
        paper=OWENS,
        run="on-off",
        measure="separation/assignment_accuracy",
        above="separation/assignment_accuracy|chance",
    ),
    Comparison(
        part="c",
        claim="on/off with PIT separates better than on/off alone",
        paper=OWENS,
        better="on-off-pit",
        worse="on-off",
        measures=("separation/sdr_db",),
    ),
    Comparison(
        part="c",
        claim="on/off with PIT separates better than PIT without pictures",
        paper=OWENS,
        better="on-off-pit",
        worse="pit",
        measures=("separation/sdr_db",),
    ),
    Threshold(
        part="d",
        claim="speech of two sentences is separated by the mouth: SI-SDR over the mixture (GRID)",
        paper=OWENS,
        run="speech-separation",
        measure="separation/on/si_sdr_gain_db",
        above=0.0,
    ),
    Comparison(
        part="e",
        claim="pretraining on sync helps recognition over training from scratch (words of GRID)",
        paper=OWENS,
        better="words",
        worse="words-scratch",
        measures=("finetune/top1",),
    ),
    Comparison(
        part="e",
        claim="pretraining on sync helps lip reading over training from scratch",
        paper=OWENS,
        better="words-silent",
        worse="words-scratch-silent",
        measures=("finetune/top1",),
    ),
    Comparison(
        part="e",
        claim="sync is a better pretext than random pairing",
        paper=OWENS,
        better="words",
        worse="words-pairing",
        measures=("finetune/top1",),
    ),
    Comparison(
        part="e",
        claim="sound helps recognition over pictures alone",
        paper=OWENS,
        better="words",
        worse="words-silent",
        measures=("finetune/top1",),
    ),
    Threshold(
        part="f",
        claim="speech is separated from sounds without pictures: SI-SDR over the mixture "
        "(GRID, ESC-10)",
        paper=OWENS,
        run="speech-over-sounds",
        measure="separation/on/si_sdr_gain_db",
        above=0.0,
    ),
    Threshold(
        part="f",
        claim="the picture tells which is the speech (GRID, ESC-10)",
        paper=OWENS,
        run="speech-over-sounds",
        measure="separation/assignment_accuracy",
        above="separation/assignment_accuracy|chance",
    ),
)
