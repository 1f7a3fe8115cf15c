"""What the papers on instance discrimination claim, and by which runs and numbers it is checked."""

from claim_table import Claims, Comparison, Threshold

AVID = "AVID"
CMA = "AVID+CMA"
ROBUST = "Robust-xID"

TRANSFER = ("probe/video", "probe/audio")
WITHIN = ("within/video", "within/audio", "within-embedding/video", "within-embedding/audio")

CLAIMS: Claims = (
    Comparison(
        part="a",
        claim="cross-modal discrimination transfers better than joint",
        paper=AVID,
        better="cross",
        worse="joint",
        measures=TRANSFER,
    ),
    Comparison(
        part="a",
        claim="joint transfers better than within-modal (self)",
        paper=AVID,
        better="joint",
        worse="self",
        measures=TRANSFER,
    ),
    Comparison(
        part="b",
        claim="CMA adds within-modal structure over AVID trained equally long",
        paper=CMA,
        better="cma",
        worse="cross-longer",
        measures=WITHIN,
    ),
    Comparison(
        part="b",
        claim="CMA transfers better than AVID trained equally long",
        paper=CMA,
        better="cma",
        worse="cross-longer",
        measures=TRANSFER,
    ),
    Threshold(
        part="c",
        claim="similarity of the two banks tells swapped sounds (AUC of -s)",
        paper=ROBUST,
        run="weighted-swapped",
        measure="detection/similarity_auc",
        above=0.8,
    ),
    Threshold(
        part="c",
        claim="weights tell swapped sounds (AUC of 1 - w)",
        paper=ROBUST,
        run="weighted-swapped",
        measure="detection/weight_auc",
        above=0.8,
    ),
    Comparison(
        part="c",
        claim="30 % of sounds swapped: weighting transfers better than xID",
        paper=ROBUST,
        better="weighted-swapped",
        worse="xid-swapped",
        measures=TRANSFER,
    ),
    Threshold(
        part="d",
        claim="soft targets put mass on true twins (share, against an even spread)",
        paper=ROBUST,
        run="soft-twins",
        measure="twins/share",
        above="twins/chance_share",
    ),
    Comparison(
        part="d",
        claim="clips there twice: soft targets transfer better than xID",
        paper=ROBUST,
        better="soft-twins",
        worse="xid-twins",
        measures=TRANSFER,
    ),
    Comparison(
        part="e",
        claim="30 % of sounds swapped: Robust-xID transfers better than xID",
        paper=ROBUST,
        better="robust-swapped",
        worse="xid-swapped",
        measures=TRANSFER,
    ),
    Comparison(
        part="e",
        claim="Robust-xID needs its warm-up",
        paper=ROBUST,
        better="robust-swapped",
        worse="robust-cold-swapped",
        measures=TRANSFER,
    ),
)
